// A signal that counts who listens to it.

export interface CountedSignal {
  readonly signal: AbortSignal;
  readonly count: { listeners: number };
}

export function countedSignal(): CountedSignal {
  const { signal } = new AbortController();
  const count = { listeners: 0 };
  const listeners = new Set<unknown>();
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners.add(args[1]);
    count.listeners = listeners.size;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners.delete(args[1]);
    count.listeners = listeners.size;
    remove(...args);
  };
  return { signal, count };
}
