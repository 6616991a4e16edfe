package dev.fovea.client;

import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.LoadBalancerRegistry;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.NameResolverRegistry;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * A channel to a service: its retries, keepalive, token and deadlines. Independent of RPCs. The
 * receive limit stays at gRPC's default of 4 MiB, because no response needs more.
 */
final class Link implements AutoCloseable {
  /** The largest request that is kept for a retry: the largest that a server accepts. */
  static final long CALL_BUFFER_BYTES = (32 << 20) + (64 << 10);

  private static final long CHANNEL_BUFFER_BYTES = 4 * CALL_BUFFER_BYTES;
  private static final long CLOSE_S = 5;
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  /**
   * The service config: each attempt of a call chooses one of several servers, and UNAVAILABLE is
   * retried. So is CANCELLED, with which a server that begins to drain drops calls; a call that its
   * caller cancels is not retried. gRPC for Java also retries any status that carries a pushback, whatever its code.
   */
  static final Map<String, ?> SERVICE_CONFIG =
      Map.of(
          "loadBalancingConfig",
          List.of(Map.of(Affinity.POLICY, Map.of())),
          "methodConfig",
          List.of(
              Map.of(
                  "name",
                  List.of(Map.of()),
                  "retryPolicy",
                  Map.of(
                      "maxAttempts",
                      4.0,
                      "initialBackoff",
                      "0.2s",
                      "maxBackoff",
                      "2s",
                      "backoffMultiplier",
                      2.0,
                      "retryableStatusCodes",
                      List.of("UNAVAILABLE", "CANCELLED")))));

  static {
    LoadBalancerRegistry.getDefaultRegistry().register(new Affinity.Provider());
    NameResolverRegistry.getDefaultRegistry().register(new ListedServers.Provider());
  }

  private final String address;
  private final ManagedChannel channel;
  private final String token;
  private final Duration timeout;

  Link(String address, ChannelCredentials credentials, String token, Duration timeout) {
    this.address = address;
    this.token = token;
    this.timeout = timeout;
    channel =
        Grpc.newChannelBuilder(ListedServers.target(address), credentials)
            .defaultServiceConfig(SERVICE_CONFIG)
            .disableServiceConfigLookUp()
            .enableRetry()
            .perRpcBufferLimit(CALL_BUFFER_BYTES)
            .retryBufferSize(CHANNEL_BUFFER_BYTES)
            .keepAliveTime(60, TimeUnit.SECONDS)
            .keepAliveWithoutCalls(true)
            .build();
  }

  /** The response to a request with a single message. */
  <Q, A> A one(MethodDescriptor<Q, A> method, Q request) {
    return one(method, request, "");
  }

  /** The response of the server of a key. */
  <Q, A> A one(MethodDescriptor<Q, A> method, Q request, String key) {
    try (Call<Q, A> call = open(method, key)) {
      call.ask(request);
      return call.only();
    }
  }

  /** A started call with the default deadline. */
  <Q, A> Call<Q, A> open(MethodDescriptor<Q, A> method, String key) {
    return open(method, key, timeout);
  }

  /** A started call with its own deadline. */
  <Q, A> Call<Q, A> open(MethodDescriptor<Q, A> method, String key, Duration within) {
    if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
      // A caller who asks now does not want to wait out the minutes of a connection's backoff.
      channel.resetConnectBackoff();
    }
    CallOptions options =
        CallOptions.DEFAULT
            .withOption(Affinity.KEY, key)
            .withDeadlineAfter(within.toNanos(), TimeUnit.NANOSECONDS);
    return new Call<>(channel.newCall(method, options), headers(), address);
  }

  Duration timeout() {
    return timeout;
  }

  private Metadata headers() {
    Metadata headers = new Metadata();
    if (!token.isEmpty()) {
      headers.put(AUTHORIZATION, "Bearer " + token);
    }
    return headers;
  }

  /** Ends the calls that still run. */
  @Override
  public void close() {
    channel.shutdownNow();
    try {
      channel.awaitTermination(CLOSE_S, TimeUnit.SECONDS);
    } catch (InterruptedException left) {
      Thread.currentThread().interrupt();
    }
  }
}
