// The reference server of Durable Streams with its files: node durable_streams_server.mjs PORT DIRECTORY
import { DurableStreamTestServer } from "@durable-streams/server";

const [port, dataDir] = process.argv.slice(2);
const server = new DurableStreamTestServer({ port: Number(port), host: "127.0.0.1", dataDir });
process.on("SIGTERM", () => process.exit(0));
await server.start();
