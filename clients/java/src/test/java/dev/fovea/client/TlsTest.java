package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.ServerCredentials;
import io.grpc.TlsServerCredentials;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Encryption, with a certificate made for the test. */
@Timeout(120)
class TlsTest {
  private static final char[] PASSWORD = "changeit".toCharArray();

  @TempDir private Path folder;

  @Test
  void aServerIsTrustedByItsAuthorityAlone() throws Exception {
    KeyStore keys = keys();
    Path authority = folder.resolve("authority.pem");
    String encoded =
        Base64.getMimeEncoder().encodeToString(keys.getCertificate("fovea").getEncoded());
    Files.writeString(
        authority, "-----BEGIN CERTIFICATE-----\n" + encoded + "\n-----END CERTIFICATE-----\n");
    Question question = Question.of("?");
    try (FakeDecoder server = new FakeDecoder(credentials(keys));
        Fovea trusting = Fovea.builder(server.address()).tls(authority).build();
        Fovea wary = Fovea.builder(server.address()).tls().build();
        Fovea plain = Fovea.connect(server.address())) {
      assertEquals(1, trusting.countTokens(question).promptTokens());
      for (Fovea other : new Fovea[] {wary, plain}) {
        var failure = assertThrows(FoveaException.class, () -> other.countTokens(question));
        assertEquals(Reason.UNAVAILABLE, failure.reason());
      }
      assertEquals(1, server.asked.size());
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "203.0.113.1:1",
        "dns:///decoder.invalid:1",
        "decoder.invalid",
        "127.0.0.1.invalid:1"
      })
  void aTokenIsSentToAnotherMachineOnlyUnderTls(String address) {
    var builder = Fovea.builder(address).token("secret");
    var failure = assertThrows(FoveaException.class, builder::build);
    assertEquals(Reason.INVALID_ARGUMENT, failure.reason());
    assertTrue(failure.getMessage().contains(address));
    assertFalse(failure.getMessage().contains("secret"));
    builder.tls().build().close();
    Fovea.builder(address).plaintextToken("secret").build().close();
    Fovea.builder(address).token("").build().close();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "localhost:1",
        "127.0.0.2:1",
        "[::1]:1",
        "dns:///127.0.0.1:1",
        "unix:///tmp/socket"
      })
  void aTokenIsSentOnThisMachineWithoutTls(String address) {
    assertTrue(ClientBuilder.isLoopback(address));
  }

  @Test
  void aTokenThatAHeaderCannotCarryIsRefused() {
    var builder = Fovea.builder("127.0.0.1:1").token("two\nlines");
    assertEquals(
        Reason.INVALID_ARGUMENT, assertThrows(FoveaException.class, builder::build).reason());
  }

  private static ServerCredentials credentials(KeyStore keys) throws Exception {
    var factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    factory.init(keys, PASSWORD);
    return TlsServerCredentials.newBuilder().keyManager(factory.getKeyManagers()).build();
  }

  private KeyStore keys() throws Exception {
    Path store = folder.resolve("keys.p12");
    Process made =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair",
                "-alias",
                "fovea",
                "-keyalg",
                "EC",
                "-dname",
                "CN=localhost",
                "-ext",
                "SAN=dns:localhost",
                "-storetype",
                "PKCS12",
                "-keystore",
                store.toString(),
                "-storepass",
                new String(PASSWORD))
            .inheritIO()
            .start();
    assertEquals(0, made.waitFor());
    return KeyStore.getInstance(store.toFile(), PASSWORD);
  }
}
