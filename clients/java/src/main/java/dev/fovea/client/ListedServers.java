package dev.fovea.client;

import io.grpc.Attributes;
import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.Status;
import io.grpc.StatusOr;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Resolves the target {@code fovea:///host:port,host:port}. A host name is a single server. */
final class ListedServers extends NameResolver {
  private static final String SCHEME = "fovea";
  private static final Pattern ADDRESS = Pattern.compile("(\\[[0-9A-Fa-f:.%]+]|[\\w.-]+):(\\d{1,5})");
  private static final int MAX_PORT = 65_535;

  private final List<String> addresses;
  private final Executor executor;
  private Listener2 listener;

  private ListedServers(List<String> addresses, Executor executor) {
    this.addresses = addresses;
    this.executor = executor;
  }

  /** The target of a channel. Fails with INVALID_ARGUMENT if an entry of a list is no address. */
  static String target(String address) {
    List<String> parts = parts(address);
    if (parts.size() == 1) {
      return address;
    }
    for (String part : parts) {
      Matcher matched = ADDRESS.matcher(part);
      if (!matched.matches() || Integer.parseInt(matched.group(2)) > MAX_PORT) {
        throw new FoveaException(
            Status.Code.INVALID_ARGUMENT,
            Reason.INVALID_ARGUMENT,
            "\"" + part + "\" of \"" + address + "\" is not host:port; a dns: name stands alone");
      }
    }
    return SCHEME + ":///" + String.join(",", parts).replace("[", "%5B").replace("]", "%5D");
  }

  /** The entries of a list. */
  static List<String> parts(String address) {
    return Arrays.stream(address.split(",", -1)).map(String::strip).toList();
  }

  /** Makes the resolvers of all such targets. */
  static final class Provider extends NameResolverProvider {
    @Override
    protected boolean isAvailable() {
      return true;
    }

    @Override
    protected int priority() {
      return 4; // below that of DNS, which stays the scheme of a target that names none
    }

    @Override
    public String getDefaultScheme() {
      return SCHEME;
    }

    @Override
    public Collection<Class<? extends SocketAddress>> getProducedSocketAddressTypes() {
      return Set.of(InetSocketAddress.class);
    }

    @Override
    public NameResolver newNameResolver(URI target, Args args) {
      if (!SCHEME.equals(target.getScheme())) {
        return null;
      }
      List<String> addresses = parts(target.getPath().substring(1));
      return new ListedServers(addresses, args.getOffloadExecutor());
    }
  }

  @Override
  public String getServiceAuthority() {
    return addresses.get(0);
  }

  @Override
  public void start(Listener2 listener) {
    this.listener = listener;
    refresh();
  }

  /** Looks the host names up. A name that has no address now fails to connect, and is tried again. */
  @Override
  public void refresh() {
    executor.execute(
        () -> {
          List<EquivalentAddressGroup> groups = new ArrayList<>();
          addresses.forEach(address -> groups.add(group(address)));
          listener.onResult(
              ResolutionResult.newBuilder().setAddressesOrError(StatusOr.fromValue(groups)).build());
        });
  }

  private static EquivalentAddressGroup group(String address) {
    Matcher parts = ADDRESS.matcher(address);
    if (!parts.matches()) {
      throw new IllegalArgumentException(address);
    }
    String host = parts.group(1).replaceAll("[\\[\\]]", "");
    var attributes =
        Attributes.newBuilder()
            .set(Affinity.LISTED, address)
            .set(EquivalentAddressGroup.ATTR_AUTHORITY_OVERRIDE, address)
            .build();
    return new EquivalentAddressGroup(
        new InetSocketAddress(host, Integer.parseInt(parts.group(2))), attributes);
  }

  @Override
  public void shutdown() {}
}
