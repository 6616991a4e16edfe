package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fovea.decoder.v1.CountTokensRequest;
import dev.fovea.decoder.v1.DecoderServiceGrpc;
import dev.fovea.decoder.v1.Delta;
import dev.fovea.decoder.v1.Finished;
import dev.fovea.decoder.v1.GenerateRequest;
import dev.fovea.decoder.v1.GenerateResponse;
import dev.fovea.decoder.v1.Part;
import dev.fovea.decoder.v1.Started;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** How the client behaves on the wire, against a decoder that does what a test wants. */
@Timeout(120)
class WireTest {
  private static final int FIVE_MIB = 5 << 20;

  private FakeDecoder server;
  private Fovea fovea;

  @BeforeEach
  void connect() {
    server = new FakeDecoder();
    fovea = Fovea.connect(server.address());
  }

  @AfterEach
  void close() {
    fovea.close();
    server.close();
  }

  private static byte[] noise(int size) {
    byte[] bytes = new byte[size];
    new Random(7).nextBytes(bytes);
    return bytes;
  }

  private static GenerateResponse started() {
    return GenerateResponse.newBuilder().setStarted(Started.newBuilder().setModel("fake")).build();
  }

  private static GenerateResponse delta(String text) {
    return GenerateResponse.newBuilder().setDelta(Delta.newBuilder().setText(text)).build();
  }

  private static GenerateResponse finished() {
    return GenerateResponse.newBuilder().setFinished(Finished.getDefaultInstance()).build();
  }

  private static void answer(GenerateRequest request, StreamObserver<GenerateResponse> out) {
    List.of(started(), delta("all "), delta("well"), finished()).forEach(out::onNext);
    out.onCompleted();
  }

  @Test
  void anImageThatFailsIsCalledByItsPath(@TempDir Path folder) throws IOException {
    Path file = Files.write(folder.resolve("other.png"), noise(10));
    Question question = Question.of("?", Image.of(noise(5)), Image.of(file));
    server.failures.add(Details.corrupt("data")); // of the first upload, which has no path
    assertEquals("", failure(question).image());
    server.generate = (request, out) -> out.onError(Details.corrupt("messages[0].parts[1].image"));
    FoveaException answered = failure(question);
    assertEquals(file.toString(), answered.image());
    assertEquals(file + ": as the test wants it", answered.getMessage());
    assertEquals(Reason.IMAGE_CORRUPT, answered.reason());
    server.failures.add(Details.corrupt("data"));
    var uploaded = assertThrows(FoveaException.class, () -> fovea.put(Image.of(file)));
    assertEquals(file.toString(), uploaded.image());
    server.generate = (request, out) -> out.onError(Details.corrupt("messages[0].parts[0].image"));
    assertEquals("", failure(question).image());
  }

  private FoveaException failure(Question question) {
    return assertThrows(FoveaException.class, () -> fovea.ask(question));
  }

  @Test
  void aRequestOfFiveMiBIsRetriedAndArrivesWhole() {
    String text = "x".repeat(FIVE_MIB);
    server.failures.add(Details.unavailable());
    server.generate = WireTest::answer;
    assertEquals("all well", fovea.ask(Question.of(text)).text());
    assertEquals(2, server.asked.size());
    for (GenerateRequest attempt : server.asked) {
      assertEquals(text, attempt.getMessages(0).getParts(0).getText());
    }
  }

  @Test
  void aCallThatADrainingServerDropsIsTriedAgain() {
    server.failures.add(Status.CANCELLED.asRuntimeException());
    server.generate = WireTest::answer;
    assertEquals("all well", fovea.ask(Question.of("?")).text());
    assertEquals(2, server.asked.size());
  }

  /** Guards the test above: with gRPC's own buffers the same request is not retried. */
  @Test
  void withoutOurBuffersTheSameRequestFails() {
    ManagedChannel channel =
        Grpc.newChannelBuilder(server.address(), InsecureChannelCredentials.create())
            .defaultServiceConfig(Link.SERVICE_CONFIG)
            .build();
    var message =
        dev.fovea.decoder.v1.Message.newBuilder()
            .addParts(Part.newBuilder().setText("x".repeat(FIVE_MIB)));
    var request =
        CountTokensRequest.newBuilder()
            .setRequest(GenerateRequest.newBuilder().addMessages(message))
            .build();
    server.failures.add(Details.unavailable());
    try {
      var stub = DecoderServiceGrpc.newBlockingStub(channel);
      assertThrows(StatusRuntimeException.class, () -> stub.countTokens(request));
    } finally {
      channel.shutdownNow();
    }
    assertEquals(1, server.asked.size());
  }

  @Test
  void anUploadOfFiveMiBIsRetriedAndArrivesWhole() {
    byte[] file = noise(FIVE_MIB);
    server.failures.add(Details.unavailable());
    fovea.put(Image.of(file));
    assertEquals(List.of("DescribeImage", "PutImage", "PutImage"), server.calls);
    assertEquals(1, server.uploads.size());
    assertArrayEquals(file, server.uploads.get(0));
  }

  @Test
  void deletionsNameTheEncodersThatDidNotConfirm() {
    var expected =
        List.of(
            new EncoderDeletion("a:1", true, "", new Deleted(1, 2, 0, Erasure.AFTER_COMPACTION)),
            new EncoderDeletion("b:1", false, "ENCODER_UNAVAILABLE", new Deleted(0, 0, 0, Erasure.UNKNOWN)));
    assertEquals(expected, fovea.delete("sha256:00"));
    assertEquals(expected, fovea.purgeTenant("acme"));
    assertEquals(List.of("sha256:00", "acme"), server.deleted);
  }

  @Test
  void triesAreBounded() {
    for (int i = 0; i < 10; i++) {
      server.failures.add(Details.unavailable());
    }
    Question question = Question.of("?");
    var failure = assertThrows(FoveaException.class, () -> fovea.countTokens(question));
    assertEquals(Reason.UNAVAILABLE, failure.reason());
    assertEquals(server.address(), failure.metadata().get("address"));
    assertEquals(4, server.asked.size());
  }

  @Test
  void aServerThatSaysNeverIsNotAskedAgain() {
    server.failures.add(Details.unavailable("-1"));
    Question question = Question.of("?");
    assertThrows(FoveaException.class, () -> fovea.countTokens(question));
    assertEquals(1, server.asked.size());
  }

  /** The backoff of our own would be a fifth of a second at most. */
  @Test
  void aServerThatSaysWhenIsHeard() {
    server.failures.add(Details.unavailable("900"));
    long start = System.nanoTime();
    assertEquals(1, fovea.countTokens(Question.of("?")).promptTokens());
    assertTrue(System.nanoTime() - start >= Duration.ofMillis(900).toNanos());
  }

  @Test
  void otherFailuresAreNotTriedAgain() {
    server.failures.add(Details.of(Status.Code.RESOURCE_EXHAUSTED, "ENGINE_BUSY"));
    Question question = Question.of("?");
    var failure = assertThrows(FoveaException.class, () -> fovea.countTokens(question));
    assertEquals(Reason.ENGINE_BUSY, failure.reason());
    assertEquals(1, server.asked.size());
  }

  @Test
  void anImageIsSentOnceHoweverOftenItIsAskedAbout() {
    byte[] file = noise(200_000);
    server.generate = WireTest::answer;
    Question question = Question.of("?", Image.of(file), Image.of(file.clone()));
    fovea.ask(question);
    fovea.ask(question);
    assertEquals(1, server.uploads.size());
    assertEquals(
        List.of("DescribeImage", "PutImage", "Generate", "DescribeImage", "Generate"),
        server.calls);
  }

  @Test
  void anImageThatWasLetGoIsUploadedOnceMore() {
    byte[] file = noise(200_000);
    server.failures.add(Details.of(Status.Code.NOT_FOUND, "IMAGE_NOT_STORED"));
    server.uploads.add(file);
    server.generate = WireTest::answer;
    fovea.ask(Question.of("?", Image.of(file)));
    assertEquals(List.of("DescribeImage", "Generate", "DescribeImage", "Generate"), server.calls);
  }

  @Test
  void anImageThatIsKnownByItsIdAloneCannotBeUploadedAgain() {
    server.failures.add(Details.of(Status.Code.NOT_FOUND, "IMAGE_NOT_STORED"));
    Question question = Question.of("?", Image.stored("sha256:" + "0".repeat(64)));
    var failure = assertThrows(FoveaException.class, () -> fovea.ask(question));
    assertEquals(Reason.IMAGE_NOT_STORED, failure.reason());
    assertEquals(List.of("Generate"), server.calls);
  }

  @Test
  void anAnswerWithoutItsEndIsNoAnswer() {
    server.generate =
        (request, out) -> {
          out.onNext(started());
          out.onNext(delta("half an"));
          out.onCompleted();
        };
    Question question = Question.of("?");
    var failure = assertThrows(FoveaException.class, () -> fovea.ask(question));
    assertEquals(Reason.ANSWER_INCOMPLETE, failure.reason());
  }

  @Test
  void theReceiveLimitIsThatOfGrpc() {
    server.generate =
        (request, out) -> {
          out.onNext(started());
          out.onNext(delta("x".repeat((4 << 20) + 1)));
          out.onCompleted();
        };
    Question question = Question.of("?");
    var failure = assertThrows(FoveaException.class, () -> fovea.ask(question));
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, failure.code());
    assertEquals(Reason.MESSAGE_TOO_LARGE, failure.reason());
  }

  /** A server that may send hundreds of megabytes is held up by a reader who does not read. */
  @Test
  void aReaderWhoDoesNotReadHoldsTheServerUp() {
    AtomicInteger sent = new AtomicInteger();
    GenerateResponse large = delta("x".repeat(64 << 10));
    server.generate =
        (request, plain) -> {
          var out = (ServerCallStreamObserver<GenerateResponse>) plain;
          out.setOnReadyHandler(
              () -> {
                while (out.isReady() && sent.get() < 4096) {
                  out.onNext(large);
                  sent.incrementAndGet();
                }
              });
        };
    try (AnswerStream events = fovea.stream(Question.of("?"))) {
      assertTrue(events.hasNext());
      int before = settled(sent);
      assertTrue(before < 512, "the server could send " + before + " messages to nobody");
      for (int i = 0; i < 200; i++) {
        events.next();
      }
      assertTrue(settled(sent) > before);
    }
  }

  /** The count once it has stopped to grow. */
  private static int settled(AtomicInteger count) {
    int before = -1;
    while (before != count.get()) {
      before = count.get();
      Patience.sleep(500);
    }
    return before;
  }

  @Test
  void leavingAStreamEarlyEndsItOnTheServer() {
    AtomicInteger cancelled = new AtomicInteger();
    server.generate =
        (request, plain) -> {
          var out = (ServerCallStreamObserver<GenerateResponse>) plain;
          out.setOnCancelHandler(cancelled::incrementAndGet);
          out.onNext(started());
          out.onNext(delta("and so on"));
        };
    try (AnswerStream events = fovea.stream(Question.of("?"))) {
      events.next();
    }
    Patience.until(Duration.ofSeconds(30), () -> "cancelled", () -> cancelled.get() == 1);
  }

  @Test
  void leavingAtTheLastEventIsNoCancellation() {
    server.generate = WireTest::answer;
    try (AnswerStream events = fovea.stream(Question.of("?"))) {
      while (!(events.next() instanceof Event.Finished)) {}
    }
    assertEquals(1, server.asked.size());
  }

  @Test
  void theTokenGoesAlongWithEveryCall() {
    var key = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    try (Fovea known = Fovea.builder(server.address()).token("secret").build()) {
      known.put(Image.of(noise(100_000)));
      known.countTokens(Question.of("?"));
    }
    assertEquals(3, server.headers.size());
    server.headers.forEach(sent -> assertEquals("Bearer secret", sent.get(key)));
  }

  @Test
  void progressIsToldToTheEnd() {
    byte[] file = noise((3 << 20) + 5);
    var heard = new java.util.ArrayList<Long>();
    fovea.put(
        Image.of(file),
        (sent, total) -> {
          assertEquals(file.length, total);
          heard.add(sent);
        });
    assertEquals(List.of(1L << 20, 2L << 20, 3L << 20, (3L << 20) + 5), heard);
  }

  @Test
  void theDefaultDeadlineBoundsEveryCall() {
    server.generate = (request, out) -> {};
    Question question = Question.of("?");
    try (Fovea hasty = Fovea.builder(server.address()).timeout(Duration.ofMillis(200)).build()) {
      var failure = assertThrows(FoveaException.class, () -> hasty.ask(question));
      assertEquals(Reason.DEADLINE_EXCEEDED, failure.reason());
    }
    Question soon = question.withTimeout(Duration.ofMillis(200));
    var failure = assertThrows(FoveaException.class, () -> fovea.ask(soon));
    assertEquals(Reason.DEADLINE_EXCEEDED, failure.reason());
  }

  @Test
  void aThreadThatIsInterruptedLeavesItsCall() {
    server.generate = (request, out) -> {};
    Thread.currentThread().interrupt();
    Question question = Question.of("?");
    var failure = assertThrows(FoveaException.class, () -> fovea.ask(question));
    assertEquals(Reason.ABORTED, failure.reason());
    assertTrue(Thread.interrupted());
  }
}
