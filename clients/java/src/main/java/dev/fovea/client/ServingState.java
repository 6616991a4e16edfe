package dev.fovea.client;

/** Whether a service can take requests. */
public enum ServingState {
  LOADING,
  SERVING,
  DRAINING,
  FAILED,
  UNKNOWN
}
