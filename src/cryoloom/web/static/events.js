/**
 * One stream of server-sent events for all pages of this browser. With HTTP/1.1 a browser opens six connections to a server, so
 * one stream for each page would block the seventh page. The page that holds the lock has the stream and informs the others.
 */

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 10000;

/**
 * address: of the stream. heard(facts): something changed; the first call has the current state. lineIs("up" | "down").
 */
export function followEvents(address, heard, lineIs) {
  const now = { line: "down", facts: null }; // state on the page with the stream
  const channel = navigator.locks && "BroadcastChannel" in window ? new BroadcastChannel(`events ${address}`) : null;
  const take = (news) => {
    Object.assign(now, news);
    if (news.line) lineIs(news.line);
    if (news.facts) heard(news.facts);
  };
  const tellAll = (news) => {
    take(news);
    channel?.postMessage(news);
  };
  let hasStream = false;

  const begin = () => {
    if (!channel) {
      addEventListener("pagehide", connect(address, () => now.facts?.number ?? 0, take), { once: true });
      return;
    }
    channel.postMessage("how do things stand?");
    const until = new Promise((done) => addEventListener("pagehide", done, { once: true }));
    const gone = new AbortController();
    until.then(() => gone.abort());
    navigator.locks.request(`events ${address}`, { signal: gone.signal }, async () => {
      hasStream = true;
      const close = connect(address, () => now.facts?.number ?? 0, tellAll);
      await until;
      hasStream = false;
      close();
    }).catch(() => {}); // the page was closed while waiting
  };
  if (channel) {
    channel.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") take(data);
      else if (hasStream && now.facts) channel.postMessage(now);
    });
  }
  addEventListener("pageshow", (event) => event.persisted && begin());
  begin();
}

/** Keep a stream open, and reopen it if it is lost. Returns a function that closes it. */
function connect(address, last, tell) {
  let source = null;
  let timer = 0;
  let wait = FIRST_WAIT_MS;
  const open = () => {
    source = new EventSource(`${address}?after=${last()}`);
    source.addEventListener("open", () => {
      wait = FIRST_WAIT_MS;
      tell({ line: "up" });
    });
    source.addEventListener("changed", (event) => tell({ line: "up", facts: JSON.parse(event.data) }));
    source.addEventListener("error", () => {
      source.close();
      tell({ line: "down" });
      timer = setTimeout(open, wait);
      wait = Math.min(wait * 1.6, LONGEST_WAIT_MS);
    });
  };
  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
