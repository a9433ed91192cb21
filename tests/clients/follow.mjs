// Follow a stream as a browser does and print its events one per line; end with an error where it would not come back.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);

source.addEventListener("caught-up", () => console.log("caught-up"));
source.onmessage = ({ lastEventId, data }) => console.log(JSON.stringify({ cursor: lastEventId, fact: JSON.parse(data) }));
source.onerror = ({ code, message }) => {
  if (source.readyState === EventSource.CLOSED) {
    console.error(`closed: ${code} ${message}`);
    process.exit(1);
  }
};
