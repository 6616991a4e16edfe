package dev.fovea.client;

import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The repository around this client: its Python, its samples, its vectors. */
final class Repository {
  static final Path ROOT = Path.of("../..").toAbsolutePath().normalize();
  static final Path STANDIN = ROOT.resolve("standin/model");
  static final Path TARGET = Path.of("target").toAbsolutePath();

  private Repository() {}

  static Path python() {
    String named = System.getenv("FOVEA_PYTHON");
    Path python = named == null ? ROOT.resolve(".venv/bin/python") : Path.of(named);
    if (!Files.isExecutable(python)) {
      throw new IllegalStateException(
          "no Python at " + python + ": run `make setup`, or set FOVEA_PYTHON; the services need it");
    }
    return python;
  }

  static Path sample(String name) {
    return ROOT.resolve("standin/samples").resolve(name);
  }

  static JsonElement json(String file) {
    return JsonParser.parseString(text(ROOT.resolve(file)));
  }

  static String text(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException unreadable) {
      throw new UncheckedIOException(unreadable);
    }
  }

  static byte[] bytes(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (IOException unreadable) {
      throw new UncheckedIOException(unreadable);
    }
  }
}
