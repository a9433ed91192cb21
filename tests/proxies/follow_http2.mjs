// Opens so many streams over one HTTP/2 connection, as the tabs of a browser do, and says how far they are.
import http2 from "node:http2";

const [url, count] = [process.argv[2], Number(process.argv[3])];
const session = http2.connect(url, { rejectUnauthorized: false });
const caughtUp = new Set(), received = new Set();

const tell = (what, streams) => streams.size === count && console.log(what);
session.on("error", (error) => console.log(`error ${error.message}`));
session.on("close", () => console.log("closed"));

for (let number = 0; number < count; number += 1) {
  const stream = session.request({ ":path": "/v1/stream", accept: "text/event-stream" });
  let text = "";
  stream.setEncoding("utf8");
  stream.on("response", (headers) => headers[":status"] === 200 || console.log(`status ${headers[":status"]}`));
  stream.on("error", (error) => console.log(`error ${error.message}`));
  stream.on("data", (part) => {
    text += part;
    if (!caughtUp.has(number) && text.includes("event: caught-up")) tell("caught up", caughtUp.add(number));
    if (!received.has(number) && text.includes('"namespace":"shop"')) tell("received", received.add(number));
  });
}
