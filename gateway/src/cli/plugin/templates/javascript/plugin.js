// Sends on chosen fields of a payload, and drops events that have none of them.
function transform(event, config) {
  const payload = {};
  for (const field of config.keep) {
    if (field in event.payload) payload[field] = event.payload[field];
  }
  const kept = Object.keys(payload).length;
  if (kept === 0) return drop("none of the fields is there");
  console.info(`${kept} of ${Object.keys(event.payload).length} fields go on`);
  return deliver({ payload });
}
