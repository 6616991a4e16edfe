package dev.fovea.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;

/**
 * The running services that all tests share, given to whoever asks for a House: an encoder and a
 * decoder with the stand-in, and, for those who want them, two of little room with a tiny random
 * model.
 */
final class House implements AutoCloseable {
  /** The tiny model answers this with hundreds of tokens. */
  static final String LONG_WINDED = "Tell me 41 things.";

  final Service encoder;
  final Service decoder;
  private final Path folder;
  private Service narrow;
  private Service cramped;

  private House() throws IOException {
    Files.createDirectories(Repository.TARGET);
    folder = Files.createTempDirectory(Repository.TARGET, "house");
    Path logs = sub("standin");
    encoder = Service.encoder(Repository.STANDIN, logs);
    decoder = Service.decoder(Repository.STANDIN, logs, encoder.address);
    List.of(encoder, decoder).forEach(Service::start);
  }

  private House ready() {
    List.of(encoder, decoder).forEach(Service::untilServing);
    return this;
  }

  /** The decoder with the tiny model and little room, which asks the stand-in's encoder. */
  Service narrow() {
    if (narrow == null) {
      narrow =
          Service.decoder(
              tiny(),
              sub("narrow"),
              encoder.address,
              "--max-running=1",
              "--max-waiting=1",
              "--max-context=512",
              "--kv-tokens=512",
              "--max-images=3");
      narrow.start().untilServing();
    }
    return narrow;
  }

  /** The encoder with the tiny model that lets one image wait, and keeps 4 MiB of images. */
  Service cramped() {
    if (cramped == null) {
      cramped =
          Service.encoder(tiny(), sub("cramped"), "--max-queue=1", "--uploads-bytes=4194304");
      cramped.start().untilServing();
    }
    return cramped;
  }

  private Path sub(String name) {
    try {
      return Files.createDirectories(folder.resolve(name));
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
  }

  /** A random model of a few hundred kilobytes, made once. */
  private static Path tiny() {
    Path model = Repository.TARGET.resolve("tiny");
    if (!Files.exists(model)) {
      try {
        Path unfinished = Files.createTempDirectory(Repository.TARGET, "tiny");
        String make = "import sys; from tests.tiny import checkpoint; checkpoint(sys.argv[1])";
        Process made =
            new ProcessBuilder(Repository.python().toString(), "-c", make, unfinished.toString())
                .directory(Repository.ROOT.toFile())
                .inheritIO()
                .start();
        if (made.waitFor() != 0) {
          throw new IllegalStateException("tests/tiny.py did not make a model");
        }
        Files.move(unfinished, model);
      } catch (IOException | InterruptedException failed) {
        throw new IllegalStateException(failed);
      }
    }
    return model;
  }

  @Override
  public void close() {
    Stream.of(decoder, narrow, encoder, cramped).filter(Objects::nonNull).forEach(Service::close);
  }

  /** Starts the house with the first test that asks for it, and ends it after the last. */
  static final class Shared implements ParameterResolver {
    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
      return parameter.getParameter().getType() == House.class;
    }

    @Override
    public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
      return context
          .getRoot()
          .getStore(ExtensionContext.Namespace.GLOBAL)
          .computeIfAbsent(House.class, key -> built(), House.class)
          .ready();
    }

    private static House built() {
      try {
        return new House();
      } catch (IOException failed) {
        throw new UncheckedIOException(failed);
      }
    }
  }
}
