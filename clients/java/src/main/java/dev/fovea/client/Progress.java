package dev.fovea.client;

/** Hears how far an upload is. It runs in the thread that uploads. */
@FunctionalInterface
public interface Progress {
  /** The Progress of a caller who does not care. */
  Progress UNHEARD = (sent, total) -> {};

  /** So many bytes of so many have been handed to the connection. */
  void sent(long bytes, long total);
}
