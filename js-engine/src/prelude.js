// What scripts find beside the language. Evaluated once, before the engine is snapshotted.
(function (write, random) {
  const shown = (value) => {
    if (typeof value === "string") return value;
    if (value instanceof Error) return `${value}\n${value.stack}`.trimEnd();
    if (typeof value !== "object" || value === null) return String(value);
    try {
      return JSON.stringify(value) ?? String(value);
    } catch {
      return String(value);
    }
  };
  const at = (level) => (...values) => write(level, values.map(shown).join(" "));
  const [debug, info, warn, error] = [0, 1, 2, 3].map(at);
  globalThis.console = { debug, info, warn, error, log: info, trace: debug };
  Math.random = random;

  // The outcomes that a plugin's `transform` returns.
  globalThis.pass = () => ({ outcome: "pass" });
  globalThis.deliver = (request) => ({ ...request, outcome: "deliver" });
  globalThis.drop = (reason) => ({ outcome: "drop", reason });
  globalThis.reject = (reason) => ({ outcome: "reject", reason });
});
