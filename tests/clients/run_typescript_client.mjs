// Run functions of typescript_scripts.mjs in Node: one JSON object a line in, one out. It ends with its input.
import { createInterface } from "node:readline";

import * as client from "../../clients/typescript/dist/index.js";
import * as scripts from "./typescript_scripts.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  const { script, given } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: (await scripts[script](client, given)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: { name: error.name, message: String(error.message), stack: error.stack, ...error } }));
  }
}
process.exit(); // connections to databases may be open
