package dev.fovea.client;

import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.function.Function;

/** How to reach a service. Defaults: plaintext, no token, two minutes a call. */
public final class ClientBuilder<C> {
  private final String address;
  private final Function<Link, C> client;
  private ChannelCredentials credentials = InsecureChannelCredentials.create();
  private String token;
  private Duration timeout = Duration.ofMinutes(2);

  ClientBuilder(String address, Function<Link, C> client) {
    this.address = address;
    this.client = client;
  }

  /** Sends a bearer token with every call. */
  public ClientBuilder<C> token(String token) {
    this.token = token;
    return this;
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

  /** The client; it connects with its first call, and again after a loss. */
  public C build() {
    return client.apply(new Link(address, credentials, token, timeout));
  }
}
