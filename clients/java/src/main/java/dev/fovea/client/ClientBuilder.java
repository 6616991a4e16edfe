package dev.fovea.client;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.function.Function;
import java.util.regex.Pattern;

/** How to reach a service. Defaults: plaintext, no token, two minutes a call. */
public final class ClientBuilder<C> {
  private static final Pattern LOOPBACK =
      Pattern.compile("unix:.*|(dns:///)?(localhost|127(\\.\\d{1,3}){3}|\\[::1])(:\\d+)?");

  private final String address;
  private final Function<Link, C> client;
  private ChannelCredentials credentials = InsecureChannelCredentials.create();
  private String token = "";
  private boolean plaintextToken;
  private Duration timeout = Duration.ofMinutes(2);

  ClientBuilder(String address, Function<Link, C> client) {
    this.address = address;
    this.client = client;
  }

  /**
   * Sends a bearer token with every call. The empty token is none. Without TLS, {@link #build}
   * refuses another machine, because anyone on the way could read the token.
   */
  public ClientBuilder<C> token(String token) {
    this.token = token == null ? "" : token;
    return this;
  }

  /**
   * As {@link #token}, for networks that encrypt by themselves, such as a service mesh: the token
   * is sent without TLS to any machine.
   */
  public ClientBuilder<C> plaintextToken(String token) {
    plaintextToken = true;
    return token(token);
  }

  /** The deadline of every call without its own. */
  public ClientBuilder<C> timeout(Duration timeout) {
    this.timeout = timeout;
    return this;
  }

  /** Encrypts, and trusts the authorities of this machine. */
  public ClientBuilder<C> tls() {
    credentials = TlsChannelCredentials.create();
    return this;
  }

  /** Encrypts, and trusts the authorities of a PEM file. */
  public ClientBuilder<C> tls(Path authorities) {
    try {
      credentials = TlsChannelCredentials.newBuilder().trustManager(authorities.toFile()).build();
    } catch (IOException unreadable) {
      throw new UncheckedIOException(unreadable);
    }
    return this;
  }

  /**
   * The client; it connects with its first call, and again after a loss. Fails with
   * INVALID_ARGUMENT if the token cannot be sent.
   */
  public C build() {
    checkToken();
    return client.apply(new Link(address, credentials, token, timeout));
  }

  private void checkToken() {
    if (!token.chars().allMatch(character -> ' ' <= character && character <= '~')) {
      throw invalid("the token must be printable ASCII");
    }
    boolean plain = credentials instanceof InsecureChannelCredentials;
    if (!token.isEmpty() && plain && !plaintextToken && !isLoopback(address)) {
      throw invalid(
          "the token is not sent to "
              + address
              + " without TLS, because anyone on the way could read it");
    }
  }

  /** Whether all servers are on this machine. Names other than localhost count as remote. */
  static boolean isLoopback(String target) {
    return ListedServers.parts(target).stream().allMatch(LOOPBACK.asMatchPredicate());
  }

  private static FoveaException invalid(String message) {
    return new FoveaException(Status.Code.INVALID_ARGUMENT, Reason.INVALID_ARGUMENT, message);
  }
}
