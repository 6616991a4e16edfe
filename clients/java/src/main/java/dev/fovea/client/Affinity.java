package dev.fovea.client;

import com.google.common.net.InetAddresses;
import io.grpc.Attributes;
import io.grpc.CallOptions;
import io.grpc.ClientStreamTracer;
import io.grpc.ConnectivityState;
import io.grpc.ConnectivityStateInfo;
import io.grpc.EquivalentAddressGroup;
import io.grpc.LoadBalancer;
import io.grpc.LoadBalancerProvider;
import io.grpc.Metadata;
import io.grpc.Status;
import java.net.Inet6Address;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/**
 * Sends calls with the same key to the same server, as long as it is up and has not too many calls.
 * Every attempt of a call is a choice of its own, so that a retry goes to the next server.
 */
final class Affinity extends LoadBalancer {
  static final String POLICY = "fovea_affinity";

  /** The key by which a call chooses its server. */
  static final CallOptions.Key<String> KEY = CallOptions.Key.createWithDefault("fovea-key", "");

  /** The address of a listed server as it was written. */
  static final Attributes.Key<String> LISTED = Attributes.Key.create("fovea-listed");

  /** How long a server is passed over that was unavailable. */
  private static final long REST_NANOS = TimeUnit.SECONDS.toNanos(1);

  private final Helper helper;
  private final Map<String, Server> servers = new LinkedHashMap<>();

  private Affinity(Helper helper) {
    this.helper = helper;
  }

  /** Makes the balancers of all channels. */
  static final class Provider extends LoadBalancerProvider {
    @Override
    public boolean isAvailable() {
      return true;
    }

    @Override
    public int getPriority() {
      return 5;
    }

    @Override
    public String getPolicyName() {
      return POLICY;
    }

    @Override
    public LoadBalancer newLoadBalancer(Helper helper) {
      return new Affinity(helper);
    }
  }

  @Override
  public Status acceptResolvedAddresses(ResolvedAddresses resolved) {
    Map<String, EquivalentAddressGroup> named = new LinkedHashMap<>();
    resolved.getAddresses().forEach(group -> named.put(nameOf(group), group));
    servers.entrySet().removeIf(entry -> left(entry.getValue(), named.get(entry.getKey())));
    named.forEach((name, group) -> servers.computeIfAbsent(name, none -> new Server(group)));
    update();
    return named.isEmpty() ? Status.UNAVAILABLE.withDescription("no address") : Status.OK;
  }

  /** Whether the server has left; otherwise it gets its addresses of now. */
  private static boolean left(Server server, EquivalentAddressGroup group) {
    if (group == null) {
      server.subchannel.shutdown();
      return true;
    }
    server.subchannel.updateAddresses(List.of(group));
    return false;
  }

  @Override
  public void handleNameResolutionError(Status error) {
    if (servers.isEmpty()) {
      helper.updateBalancingState(
          ConnectivityState.TRANSIENT_FAILURE, new FixedResultPicker(PickResult.withError(error)));
    }
  }

  @Override
  public void shutdown() {
    servers.values().forEach(server -> server.subchannel.shutdown());
  }

  private void update() {
    Picker picker = new Picker(Map.copyOf(servers));
    helper.updateBalancingState(picker.state(), picker);
  }

  private static String nameOf(EquivalentAddressGroup group) {
    String listed = group.getAttributes().get(LISTED);
    if (listed != null || !(group.getAddresses().get(0) instanceof InetSocketAddress socket)) {
      return listed != null ? listed : group.getAddresses().get(0).toString();
    }
    if (socket.isUnresolved()) {
      return socket.getHostString() + ":" + socket.getPort();
    }
    String host = InetAddresses.toAddrString(socket.getAddress());
    boolean isLong = socket.getAddress() instanceof Inet6Address;
    return (isLong ? "[" + host + "]" : host) + ":" + socket.getPort();
  }

  /** A server as this client knows it: its connection, and the calls that run on it. */
  private final class Server {
    private final Subchannel subchannel;
    private final boolean isPreferred;
    private volatile ConnectivityStateInfo info =
        ConnectivityStateInfo.forNonError(ConnectivityState.IDLE);
    /** Its connection was lost and is not back: an open one is better than to wait for it. */
    private volatile boolean isLost;
    private int calls;
    private long restsUntil = System.nanoTime();

    Server(EquivalentAddressGroup group) {
      // Of a name's addresses those of IPv4 are preferred: a server with one of each counts once.
      boolean isListed = group.getAttributes().get(LISTED) != null;
      isPreferred = isListed || !nameOf(group).startsWith("[");
      subchannel =
          helper.createSubchannel(CreateSubchannelArgs.newBuilder().setAddresses(group).build());
      subchannel.start(this::changed);
      subchannel.requestConnection();
    }

    private void changed(ConnectivityStateInfo now) {
      if (now.getState() == ConnectivityState.SHUTDOWN) {
        return;
      }
      if (now.getState() == ConnectivityState.IDLE) {
        subchannel.requestConnection();
      }
      if (now.getState() == ConnectivityState.TRANSIENT_FAILURE) {
        helper.refreshNameResolution();
      }
      boolean isReady = now.getState() == ConnectivityState.READY;
      isLost = !isReady && (isLost || info.getState() == ConnectivityState.READY);
      // Until it is ready again, a server that failed counts as failed: nobody waits for it.
      if (!isDown() || now.getState() == ConnectivityState.READY) {
        info = now;
      }
      update();
    }

    boolean isDown() {
      return info.getState() == ConnectivityState.TRANSIENT_FAILURE;
    }

    synchronized int calls() {
      return calls;
    }

    synchronized boolean isAwake() {
      return System.nanoTime() - restsUntil >= 0;
    }

    synchronized void begun() {
      calls++;
    }

    synchronized void ended(Status status) {
      calls--;
      if (status.getCode() == Status.Code.UNAVAILABLE) {
        restsUntil = System.nanoTime() + REST_NANOS;
      }
    }

    PickResult picked() {
      return switch (info.getState()) {
        case READY -> PickResult.withSubchannel(subchannel, new Counting(this));
        case TRANSIENT_FAILURE -> PickResult.withError(info.getStatus());
        default -> PickResult.withNoResult();
      };
    }
  }

  /** Counts the streams of a server. */
  private static final class Counting extends ClientStreamTracer.Factory {
    private final Server server;

    Counting(Server server) {
      this.server = server;
    }

    @Override
    public ClientStreamTracer newClientStreamTracer(
        ClientStreamTracer.StreamInfo info, Metadata headers) {
      server.begun();
      return new ClientStreamTracer() {
        @Override
        public void streamClosed(Status status) {
          server.ended(status);
        }
      };
    }
  }

  /** Waits for a server that is connecting, so that the first calls find their owner too. */
  private static final class Picker extends SubchannelPicker {
    private final Map<String, Server> servers;

    Picker(Map<String, Server> servers) {
      this.servers = servers;
    }

    @Override
    public PickResult pickSubchannel(PickSubchannelArgs args) {
      Map<String, Server> best = preferring(servers, server -> !server.isDown() && !server.isLost);
      best = preferring(best, server -> server.isPreferred);
      best = preferring(best, Server::isAwake);
      Map<String, Integer> calls = new HashMap<>();
      best.forEach((name, server) -> calls.put(name, server.calls()));
      String key = args.getCallOptions().getOption(KEY);
      return best.get(Rendezvous.boundedOwner(key, calls)).picked();
    }

    ConnectivityState state() {
      var states = servers.values().stream().map(server -> server.info.getState()).toList();
      if (states.contains(ConnectivityState.READY)) {
        return ConnectivityState.READY;
      }
      boolean isDown = states.stream().allMatch(ConnectivityState.TRANSIENT_FAILURE::equals);
      return isDown ? ConnectivityState.TRANSIENT_FAILURE : ConnectivityState.CONNECTING;
    }

    /** Those that are good, or all if none is. */
    private static Map<String, Server> preferring(
        Map<String, Server> all, Predicate<Server> isGood) {
      Map<String, Server> good = new HashMap<>(all);
      good.values().removeIf(isGood.negate());
      return good.isEmpty() ? all : good;
    }
  }
}
