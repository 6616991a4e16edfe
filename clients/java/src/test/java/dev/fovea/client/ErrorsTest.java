package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fovea.decoder.v1.DecoderServiceGrpc;
import dev.fovea.decoder.v1.GenerateRequest;
import dev.fovea.decoder.v1.GetServerInfoRequest;
import dev.fovea.decoder.v1.Tool;
import dev.fovea.decoder.v1.Role;
import dev.fovea.encoder.v1.EncoderServiceGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Every failure that a caller can provoke from the real services, by its reason and its facts. */
@Timeout(300)
@ExtendWith(House.Shared.class)
class ErrorsTest {
  private static final String NOWHERE = "sha256:" + "0".repeat(64);

  private Fovea fovea;

  @BeforeEach
  void connect(House house) {
    fovea = Fovea.connect(house.decoder.address);
  }

  @AfterEach
  void close() {
    fovea.close();
  }

  /** The failure of a call; all that services refuse themselves names the request. */
  private static FoveaException refused(Reason reason, Status.Code code, Executable call) {
    FoveaException failure = assertThrows(FoveaException.class, call);
    assertEquals(reason, failure.reason(), failure::toString);
    assertEquals(code, failure.code(), failure::toString);
    assertFalse(failure.getMessage().isEmpty());
    assertFalse(failure.requestId().isEmpty(), failure::toString);
    return failure;
  }

  private static FoveaException invalid(Reason reason, Executable call) {
    return refused(reason, Status.Code.INVALID_ARGUMENT, call);
  }

  private static void names(FoveaException failure, String field) {
    assertTrue(
        failure.violations().stream().anyMatch(v -> v.field().equals(field)),
        () -> field + " is not in " + failure.violations());
  }

  private static Link link(House house) {
    return new Link(
        house.decoder.address, InsecureChannelCredentials.create(), "", Duration.ofMinutes(1));
  }

  private static byte[] half(byte[] file) {
    return Arrays.copyOf(file, file.length / 2);
  }

  static Stream<Arguments> badImages() {
    byte[] text = "What is the total?".getBytes(StandardCharsets.UTF_8);
    return Stream.of(
        Arguments.of(Reason.IMAGE_EMPTY, "no bytes", new byte[0]),
        Arguments.of(Reason.IMAGE_FORMAT_NOT_SUPPORTED, "text", text),
        Arguments.of(
            Reason.IMAGE_FORMAT_NOT_SUPPORTED,
            "a BMP",
            Pictures.file(Pictures.noise(9, 9, 1), "bmp")),
        Arguments.of(Reason.IMAGE_CORRUPT, "half a PNG", half(Pictures.png(120, 120, 1))),
        Arguments.of(
            Reason.IMAGE_CORRUPT,
            "half a JPEG",
            half(Pictures.file(Pictures.noise(120, 120, 1), "jpeg"))),
        Arguments.of(Reason.IMAGE_CORRUPT, "a PNG without pixels", Pictures.hollowPng(64, 64)),
        Arguments.of(
            Reason.IMAGE_TOO_MANY_PIXELS, "60000x60000", Pictures.hollowPng(60_000, 60_000)),
        Arguments.of(Reason.IMAGE_TOO_LARGE, "33 MiB", new byte[33 << 20]),
        Arguments.of(Reason.IMAGE_SIDE_TOO_LONG, "17000x100", Pictures.hollowPng(17_000, 100)),
        Arguments.of(Reason.IMAGE_ASPECT_TOO_EXTREME, "402x2", Pictures.hollowPng(402, 2)),
        Arguments.of(Reason.IMAGE_TOO_MANY_SCANS, "500 scans", Pictures.manyScans(500)));
  }

  @ParameterizedTest(name = "{1}: {0}")
  @MethodSource("badImages")
  void aBadImageIsRefused(Reason reason, String what, byte[] file) {
    Question question = Question.of("?", Image.of(file));
    FoveaException failure = invalid(reason, () -> fovea.ask(question));
    assertFalse(failure.violations().isEmpty());
  }

  @Test
  void aLimitStandsInTheMetadata() {
    byte[] file = Pictures.hollowPng(17_000, 100);
    var failure = invalid(Reason.IMAGE_SIDE_TOO_LONG, () -> fovea.put(Image.of(file)));
    assertEquals("16384", failure.metadata().get("limit"));
    assertEquals("17000", failure.metadata().get("actual"));
    names(failure, "data");
  }

  /** As it happens when a file changes between the hashing and the sending. */
  @Test
  void bytesThatAreNotThoseAnnounced(@TempDir Path folder, House house) throws IOException {
    Path file = folder.resolve("a.png");
    Files.write(file, Pictures.png(40, 40, 31));
    Upload upload = Upload.of(file);
    Files.write(file, Pictures.png(40, 40, 32));
    Link link = link(house);
    try (link; var call = link.open(DecoderServiceGrpc.getPutImageMethod(), upload.digest())) {
      var header =
          dev.fovea.decoder.v1.PutImageHeader.newBuilder().setDigest(upload.digest());
      var failure =
          invalid(
              Reason.DIGEST_MISMATCH,
              () ->
                  upload.send(
                      call,
                      dev.fovea.decoder.v1.PutImageRequest.newBuilder().setHeader(header).build(),
                      data ->
                          dev.fovea.decoder.v1.PutImageRequest.newBuilder().setData(data).build(),
                      Progress.UNHEARD));
      assertEquals(upload.digest(), failure.metadata().get("announced"));
    }
  }

  @Test
  void anImageThatNobodyStored() {
    Question question = Question.of("?", Image.stored(NOWHERE));
    Status.Code code = Status.Code.NOT_FOUND;
    refused(Reason.IMAGE_NOT_STORED, code, () -> fovea.ask(question));
    refused(Reason.IMAGE_NOT_STORED, code, () -> fovea.countTokens(question));
    var failure = refused(Reason.IMAGE_NOT_STORED, code, () -> fovea.describe(NOWHERE));
    assertEquals(NOWHERE, failure.metadata().get("digest"));
  }

  @Test
  void whatIsNoId() {
    Question question = Question.of("?", Image.stored("chart.png"));
    names(
        invalid(Reason.INVALID_ARGUMENT, () -> fovea.ask(question)),
        "messages[0].parts[0].image.digest");
  }

  @Test
  void aFileThatCannotBeRead() {
    assertThrows(
        UncheckedIOException.class, () -> fovea.ask("?", Path.of("/nowhere/at/all.png")));
  }

  @Test
  void aPromptThatDoesNotFit(House house) {
    try (Fovea narrow = Fovea.connect(house.narrow().address)) {
      String text = "How many rows does the table have? ".repeat(200);
      Question question = Question.of(text);
      var failure = invalid(Reason.CONTEXT_TOO_LONG, () -> narrow.ask(question));
      assertEquals("512", failure.metadata().get("limit"));
    }
  }

  /** The server says which size would fit, and that size does. */
  @Test
  void imagesThatDoNotFit() {
    Image[] images = new Image[8];
    for (int i = 0; i < images.length; i++) {
      images[i] = Image.of(Pictures.file(Pictures.ramp(1200 + 32 * i, 1100), "jpeg"));
    }
    Question question = Question.of("?", images);
    var failure = invalid(Reason.CONTEXT_TOO_LONG, () -> fovea.ask(question));
    int fits = Integer.parseInt(failure.metadata().get("max_pixels_that_fits"));
    assertTrue(fovea.countTokens(question.withMaxPixels(fits)).fitsContext());
    assertFalse(fovea.countTokens(question).fitsContext());
  }

  @Test
  void moreNewTokensThanTheCap() {
    Question question =
        Question.of("?").withSampling(Sampling.DEFAULT.withMaxNewTokens(513));
    var failure = invalid(Reason.MAX_NEW_TOKENS_TOO_LARGE, () -> fovea.ask(question));
    assertEquals("512", failure.metadata().get("limit"));
  }

  @Test
  void moreImagesThanAllowed() {
    Image chart = Image.of(Repository.sample("chart.png"));
    Question question = Question.of("?", Collections.nCopies(33, chart).toArray(Image[]::new));
    var failure = invalid(Reason.TOO_MANY_IMAGES, () -> fovea.ask(question));
    assertEquals("32", failure.metadata().get("limit"));
    assertEquals("33", failure.metadata().get("actual"));
  }

  @Test
  void samplingOutsideOfItsRange() {
    List<Sampling> wrong =
        List.of(
            Sampling.DEFAULT.withTemperature(-1),
            Sampling.DEFAULT.withTopP(0),
            Sampling.DEFAULT.withMinP(2),
            Sampling.DEFAULT.withRepetitionPenalty(0),
            Sampling.DEFAULT.withPresencePenalty(3),
            Sampling.DEFAULT.withFrequencyPenalty(-3),
            Sampling.DEFAULT.withLogitBias(Map.of(5, 101f)),
            Sampling.DEFAULT.withStop(""));
    List<String> fields =
        List.of(
            "temperature",
            "top_p",
            "min_p",
            "repetition_penalty",
            "presence_penalty",
            "frequency_penalty",
            "logit_bias[5]",
            "stop");
    for (int i = 0; i < fields.size(); i++) {
      Question question = Question.of("?").withSampling(wrong.get(i));
      var failure = invalid(Reason.INVALID_ARGUMENT, () -> fovea.ask(question));
      names(failure, "sampling." + fields.get(i));
    }
  }

  @Test
  void maxPixelsOutsideOfItsRange() {
    Question question = Question.of("?", Image.of(Repository.sample("chart.png")));
    var failure =
        invalid(Reason.INVALID_ARGUMENT, () -> fovea.ask(question.withMaxPixels(1)));
    names(failure, "visual.max_pixels");
    assertEquals("4096", failure.metadata().get("least"));
  }

  @Test
  void messagesThatAreNoConversation() {
    Message user = Message.user("?");
    List<List<Message>> wrong =
        List.of(
            List.of(),
            List.of(user, Message.assistant("!")),
            List.of(user, Message.system("Be brief."), user),
            List.of(new Message(Message.Role.USER, List.of())));
    for (List<Message> messages : wrong) {
      Question question = Question.of(messages);
      var failure = invalid(Reason.MESSAGES_INVALID, () -> fovea.ask(question));
      assertFalse(failure.violations().isEmpty());
    }
  }

  /** A decoder knows no RPC of an encoder; what gRPC itself says has no details. */
  @Test
  void anRpcThatIsNotThere(House house) {
    Link link = link(house);
    try (link) {
      var failure =
          assertThrows(
              FoveaException.class,
              () ->
                  link.one(
                      EncoderServiceGrpc.getGetServerInfoMethod(),
                      dev.fovea.encoder.v1.GetServerInfoRequest.getDefaultInstance()));
      assertEquals(Reason.NOT_SERVED, failure.reason());
      link.one(
          DecoderServiceGrpc.getGetServerInfoMethod(), GetServerInfoRequest.getDefaultInstance());
    }
  }

  @Test
  void aMessageThatIsLargerThanTheServerReceives() {
    Question question = Question.of("x".repeat(33 << 20));
    var failure = assertThrows(FoveaException.class, () -> fovea.ask(question));
    assertEquals(Reason.MESSAGE_TOO_LARGE, failure.reason());
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, failure.code());
  }

  @Test
  void nobodyAtTheAddress() {
    try (Fovea nobody = Fovea.connect("127.0.0.1:1")) {
      var failure = assertThrows(FoveaException.class, nobody::info);
      assertEquals(Reason.UNAVAILABLE, failure.reason());
      assertEquals("127.0.0.1:1", failure.metadata().get("address"));
      assertTrue(failure.getMessage().contains("127.0.0.1:1"));
    }
  }

  @Test
  void aDeadlineThatHasAsGoodAsPassed(House house) {
    try (Fovea hasty =
        Fovea.builder(house.decoder.address).timeout(Duration.ofNanos(1)).build()) {
      var failure = assertThrows(FoveaException.class, hasty::info);
      assertEquals(Reason.DEADLINE_EXCEEDED, failure.reason());
    }
  }

  /** The narrow decoder runs another model than the encoder that it asks. */
  @Test
  void anEncoderOfAnotherModel(House house) {
    try (Fovea narrow = Fovea.connect(house.narrow().address)) {
      Question question = Question.of("?", Image.of(Repository.sample("chart.png")));
      var failure =
          refused(
              Reason.ENCODER_MISMATCH,
              Status.Code.FAILED_PRECONDITION,
              () -> narrow.ask(question));
      assertFalse(failure.metadata().containsKey("encoder"));
    }
  }

  @Test
  void anEngineThatIsBusy(House house) throws InterruptedException {
    ManagedChannel once = // a channel that does not retry sees the refusal itself
        Grpc.newChannelBuilder(house.narrow().address, InsecureChannelCredentials.create())
            .disableRetry()
            .build();
    var stub = DecoderServiceGrpc.newBlockingStub(once);
    try (Fovea narrow = Fovea.connect(house.narrow().address)) {
      var refused =
          whileFull(
              narrow,
              () ->
                  assertThrows(
                      StatusRuntimeException.class,
                      () -> stub.generate(request("?")).forEachRemaining(event -> {})));
      var failure = Failure.of(refused.getStatus(), refused.getTrailers(), once.authority());
      assertEquals(Reason.ENGINE_BUSY, failure.reason());
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, failure.code());
      assertTrue(failure.retryAfter().orElseThrow().toMillis() > 0);
    } finally {
      once.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  /** gRPC for Java honours the server's pushback whatever the status: the request is sent again. */
  @Test
  void anEngineThatIsBusyIsAskedAgain(House house) {
    try (Fovea narrow = Fovea.connect(house.narrow().address)) {
      long waitedMs = 0;
      for (int attempt = 0; waitedMs < 1000 && attempt < 5; attempt++) {
        waitedMs = whileFull(narrow, () -> askedForMs(narrow)); // the engine may be done before it is asked
      }
      assertTrue(waitedMs >= 1000, "answered without the pushback");
    }
  }

  private static long askedForMs(Fovea narrow) {
    long began = System.nanoTime();
    assertTrue(narrow.ask("?").receipt().totals().outputTokens() > 0);
    return Duration.ofNanos(System.nanoTime() - began).toMillis();
  }

  /** What a third caller gets while one request runs and one waits. */
  private static <T> T whileFull(Fovea narrow, Supplier<T> third) {
    Question question =
        Question.of(House.LONG_WINDED).withSampling(Sampling.DEFAULT.withMaxNewTokens(240));
    Patience.until(Duration.ofSeconds(60), () -> "free", () -> LeavingTest.isFree(narrow));
    try (AnswerStream running = narrow.stream(question);
        AnswerStream waiting = narrow.stream(question)) {
      assertTrue(running.hasNext() && waiting.hasNext());
      return third.get();
    }
  }

  private static GenerateRequest request(String text) {
    var part = dev.fovea.decoder.v1.Part.newBuilder().setText(text);
    var message = dev.fovea.decoder.v1.Message.newBuilder().setRole(Role.ROLE_USER).addParts(part);
    return GenerateRequest.newBuilder().addMessages(message).build();
  }

  @Test
  void anEncoderThatIsBusy(House house) throws InterruptedException {
    List<Callable<Rows>> calls = new ArrayList<>();
    List<FoveaException> failures = new ArrayList<>();
    try (FoveaEncoder encoder = FoveaEncoder.connect(house.cramped().address)) {
      for (int i = 0; i < 8; i++) {
        byte[] file = Pictures.file(Pictures.ramp(1024 + 32 * i, 900), "jpeg");
        String digest = encoder.put(Image.of(file)).facts().digest();
        calls.add(() -> encoder.encode(digest));
      }
      var pool = Executors.newFixedThreadPool(calls.size());
      for (Future<Rows> done : pool.invokeAll(calls)) {
        try {
          assertTrue(done.get().count() > 0);
        } catch (ExecutionException failed) {
          failures.add((FoveaException) failed.getCause());
        }
      }
      pool.shutdown();
    }
    assertFalse(failures.isEmpty());
    for (FoveaException failure : failures) {
      assertEquals(Reason.ENCODER_BUSY, failure.reason());
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, failure.code());
      assertTrue(failure.retryAfter().isPresent());
      assertEquals("1", failure.metadata().get("limit"));
    }
  }

  @Test
  void anImageThatIsLargerThanTheStore(House house) {
    try (FoveaEncoder encoder = FoveaEncoder.connect(house.cramped().address)) {
      Image image = Image.of(Pictures.png(1400, 1200, 33));
      refused(
          Reason.STORE_FULL, Status.Code.RESOURCE_EXHAUSTED, () -> encoder.put(image));
    }
  }

  /** An encoder whose weights never come: they lie in a pipe that nobody writes to. */
  @Test
  void servicesThatAreLoading(@TempDir Path folder, House house) throws Exception {
    Path model = Files.createDirectory(folder.resolve("model"));
    try (Stream<Path> files = Files.list(Repository.STANDIN)) {
      for (Path file : files.filter(f -> !f.toString().endsWith(".safetensors")).toList()) {
        Files.copy(file, model.resolve(file.getFileName()));
      }
    }
    Process made =
        new ProcessBuilder("mkfifo", model.resolve("model.safetensors").toString()).start();
    assertEquals(0, made.waitFor());
    try (Service loading = Service.encoder(model, folder).start().until(ServingState.LOADING);
        FoveaEncoder encoder = FoveaEncoder.connect(loading.address)) {
      Stored stored = encoder.put(Image.of(Repository.sample("chart.png")));
      String digest = stored.facts().digest();
      var failure =
          refused(Reason.NOT_READY, Status.Code.UNAVAILABLE, () -> encoder.encode(digest));
      assertTrue(failure.retryAfter().isPresent());
      EncoderInfo info = encoder.info();
      assertTrue(info.fingerprint().isEmpty() && info.layout().isEmpty());
      assertTrue(info.progress() < 1);
    }
  }
}
