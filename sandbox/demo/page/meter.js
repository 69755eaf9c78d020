const WINDOW = 4000; // milliseconds: short enough to follow the network, long enough to be steady

/** Return a meter that computes speed and time left from the last few seconds. */
export function createMeter(total) {
  const samples = [];
  return {
    read(loaded, now) {
      samples.push({ loaded, now });
      while (now - samples[0].now > WINDOW && samples.length > 2) samples.shift();
      const elapsed = now - samples[0].now;
      const sent = loaded - samples[0].loaded;
      if (elapsed <= 0 || sent <= 0) return null;
      const bytesPerSecond = (sent / elapsed) * 1000;
      return { bytesPerSecond, secondsLeft: (total - loaded) / bytesPerSecond };
    },
  };
}
