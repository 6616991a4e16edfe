package dev.fovea.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** A real service in a process of its own, at a loopback address that it keeps when restarted. */
final class Service implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofMinutes(5);

  private final List<String> command;
  private final Path log;
  private final boolean decoder;
  final String address = "127.0.0.1:" + freePort();
  private Process process;

  private Service(String program, Path log, List<String> flags) {
    this.log = log;
    decoder = program.startsWith("decoder");
    command = new ArrayList<>(List.of(Repository.python().toString(), "-m", program));
    command.addAll(List.of("--listen", address, "--metrics-listen", ""));
    command.addAll(List.of("--threads", "1", "--device", "cpu"));
    command.addAll(flags);
  }

  static Service encoder(Path model, Path folder, String... flags) {
    List<String> all = new ArrayList<>(List.of("--model", model.toString()));
    all.addAll(List.of("--cache-dir", folder.resolve("store").toString()));
    all.addAll(List.of("--cache-bytes", "268435456", "--uploads-bytes", "268435456"));
    all.addAll(List.of(flags));
    return new Service("encoder_svc", folder.resolve("encoder.log"), all);
  }

  static Service decoder(Path model, Path folder, String encoder, String... flags) {
    List<String> all = new ArrayList<>(List.of("--model", model.toString()));
    // So that a second ask shows what the encoder has kept.
    all.addAll(List.of("--encoders", encoder, "--prefix-cache", "false"));
    all.addAll(List.of("--ledger-dir", folder.resolve("ledger").toString()));
    all.addAll(List.of(flags));
    return new Service("decoder_svc", folder.resolve("decoder.log"), all);
  }

  /** Begins to start; several services may do so side by side. */
  Service start() {
    ProcessBuilder builder = new ProcessBuilder(command).directory(Repository.ROOT.toFile());
    builder.environment().keySet().removeIf(name -> name.startsWith("FOVEA_"));
    builder.redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
    try {
      process = builder.start();
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
    return this;
  }

  Service untilServing() {
    return until(ServingState.SERVING);
  }

  /** The bound is a guard against hanging, no measurement. */
  Service until(ServingState wanted) {
    try (Fovea fovea = Fovea.connect(address);
        FoveaEncoder encoder = FoveaEncoder.connect(address)) {
      Supplier<ServingState> state =
          () -> decoder ? fovea.info().state() : encoder.info().state();
      Patience.until(PATIENCE, () -> this + " is " + wanted, () -> told(state) == wanted);
    }
    return this;
  }

  private ServingState told(Supplier<ServingState> state) {
    if (!process.isAlive()) {
      throw new IllegalStateException(this + " has ended:\n" + Repository.text(log));
    }
    try {
      return state.get();
    } catch (FoveaException notYet) {
      return ServingState.UNKNOWN;
    }
  }

  /** As SIGTERM does: it drains. */
  void stop() {
    process.destroy();
    try {
      if (!process.waitFor(60, TimeUnit.SECONDS)) {
        throw new IllegalStateException(this + " does not end");
      }
    } catch (InterruptedException left) {
      throw new IllegalStateException(left);
    }
  }

  @Override
  public void close() {
    if (process != null) {
      process.destroyForcibly();
    }
  }

  @Override
  public String toString() {
    return command.get(2) + " at " + address + ", log " + log;
  }

  private static int freePort() {
    try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return probe.getLocalPort();
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
  }
}
