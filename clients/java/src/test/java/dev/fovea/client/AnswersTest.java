package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Right answers and their receipts, from the real services with the stand-in model. */
@Timeout(300)
@ExtendWith(House.Shared.class)
class AnswersTest {
  private static final Path CHART = Repository.sample("chart.png");
  private static final String TALLEST = "Which bar is the tallest?";

  /** A question about a sample whose right answer is known. */
  private record Sample(Path file, String question, String answer) {}

  private Fovea fovea;

  @BeforeEach
  void connect(House house) {
    fovea = Fovea.connect(house.decoder.address);
  }

  @AfterEach
  void close() {
    fovea.close();
  }

  private static List<Sample> samples() {
    List<Sample> samples = new ArrayList<>();
    for (JsonElement file : Repository.json("standin/samples/samples.json").getAsJsonArray()) {
      JsonObject sample = file.getAsJsonObject();
      Path path = Repository.sample(sample.get("file").getAsString());
      for (JsonElement each : sample.getAsJsonArray("questions")) {
        JsonObject asked = each.getAsJsonObject();
        samples.add(
            new Sample(path, asked.get("question").getAsString(), asked.get("answer").getAsString()));
      }
    }
    return samples;
  }

  @Test
  void everySampleIsAnsweredRight() {
    List<Sample> samples = samples();
    assertTrue(samples.size() >= 10);
    for (Sample sample : samples) {
      Answer answer = fovea.ask(sample.question(), sample.file());
      assertEquals(sample.answer(), answer.text(), sample::toString);
      assertEquals(FinishReason.STOP, answer.finishReason());
      assertEquals(1, answer.receipt().images().size());
    }
  }

  /** A picture that nobody asked about before, so that the first ask must be a miss. */
  @Test
  void theSecondAskIsAHit() {
    Question question = Question.of("What is this?", Image.of(Pictures.png(300, 200, 11)));
    Receipt first = fovea.ask(question).receipt();
    assertEquals(RowSource.ENCODED, first.images().get(0).source());
    assertEquals(1, first.totals().encodes());
    Receipt second = fovea.ask(question).receipt();
    assertEquals(RowSource.ROWS, second.images().get(0).source());
    assertEquals(0, second.totals().encodes());
    assertEquals(first.images().get(0).rowsDigest(), second.images().get(0).rowsDigest());
  }

  @Test
  void twentyCallsAtOnce() throws Exception {
    List<Sample> samples = samples();
    List<Callable<Answer>> calls = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      Sample sample = samples.get(i % samples.size());
      calls.add(() -> fovea.ask(sample.question(), sample.file()));
    }
    var pool = Executors.newFixedThreadPool(calls.size());
    List<Future<Answer>> answers = pool.invokeAll(calls);
    pool.shutdown();
    for (int i = 0; i < answers.size(); i++) {
      assertEquals(samples.get(i % samples.size()).answer(), answers.get(i).get().text());
    }
  }

  @Test
  void theReceiptTellsWhatTheImageCost() {
    Answer answer = fovea.ask(TALLEST, CHART);
    Receipt receipt = answer.receipt();
    Receipt.Image image = receipt.images().get(0);
    assertEquals(Upload.of(CHART).digest(), image.digest());
    assertEquals(new Size(256, 192), image.original());
    assertEquals(new Size(256, 192), image.planned());
    assertEquals(new Grid(1, 12, 16), image.grid());
    assertEquals(48, image.tokens());
    assertEquals(192, image.patches());
    assertEquals(RowDtype.BF16, image.dtype());
    assertEquals(48, receipt.totals().visualTokens());
    assertTrue(receipt.totals().textTokens() > 0);
    assertTrue(receipt.totals().outputTokens() > 0);
    assertTrue(receipt.stagesMs().total() >= receipt.stagesMs().ttft());
    assertEquals("model", answer.model());
    assertFalse(answer.requestId().isEmpty());
    assertTrue(receipt.table().contains("48 visual"), receipt::table);
    assertTrue(receipt.table().contains("256x192"), receipt::table);
  }

  @Test
  void aStreamIsOneStartedThenTextThenOneFinished() {
    List<Event> events = new ArrayList<>();
    try (AnswerStream stream = fovea.stream(TALLEST, CHART)) {
      stream.forEachRemaining(events::add);
    }
    var started = assertInstanceOf(Event.Started.class, events.get(0));
    assertEquals(48, started.visualTokens());
    var finished = assertInstanceOf(Event.Finished.class, events.get(events.size() - 1));
    assertEquals(FinishReason.STOP, finished.reason());
    StringBuilder text = new StringBuilder();
    for (Event event : events.subList(1, events.size() - 1)) {
      text.append(assertInstanceOf(Event.Text.class, event).text());
    }
    assertEquals("yellow", text.toString());
  }

  @Test
  void textIsHeardAsItComes() {
    StringBuilder heard = new StringBuilder();
    Answer answer = fovea.ask(Question.of(TALLEST, Image.of(CHART)), heard::append);
    assertEquals(answer.text(), heard.toString());
  }

  @Test
  void aConversationWithTwoImages() {
    List<Message> messages =
        List.of(
            Message.user("What is this picture?", Image.of(Repository.sample("table.png"))),
            Message.assistant("table"),
            Message.user(TALLEST, Image.of(CHART)));
    Answer answer = fovea.ask(Question.of(messages));
    assertEquals(2, answer.receipt().images().size());
    assertEquals(Upload.of(CHART).digest(), answer.receipt().images().get(1).digest());
    Message alone = Message.user(Image.of(CHART), Part.text(TALLEST));
    assertEquals("yellow", fovea.ask(Question.of(List.of(alone))).text());
  }

  @Test
  void anImageThatStandsTwiceIsARepeat() {
    Image chart = Image.of(CHART);
    Receipt receipt = fovea.ask(Question.of(TALLEST, chart, chart)).receipt();
    assertTrue(receipt.images().get(0).repeatOf().isEmpty());
    assertEquals(0, receipt.images().get(1).repeatOf().orElseThrow());
  }

  @Test
  void maxPixelsAndSamplingAndTheRequestIdReachTheServer() {
    Question question =
        Question.of(TALLEST, Image.of(CHART))
            .withMaxPixels(128 * 96)
            .withRequestId("java-1")
            .withSampling(
                Sampling.DEFAULT
                    .withTemperature(0.8f)
                    .withTopP(0.9f)
                    .withTopK(20)
                    .withMinP(0.01f)
                    .withRepetitionPenalty(1.1f)
                    .withSeed(-7)
                    .withStop("never said")
                    .withMaxNewTokens(1));
    Answer answer = fovea.ask(question);
    assertEquals("java-1", answer.requestId());
    assertEquals(new Size(128, 96), answer.receipt().images().get(0).planned());
    assertEquals(1, answer.receipt().totals().outputTokens());
    assertEquals(FinishReason.LENGTH, answer.finishReason());
    assertEquals(answer.text(), fovea.ask(question).text());
  }

  @Test
  void aStopStringEndsTheAnswer() {
    Sampling sampling = Sampling.DEFAULT.withStop("low");
    Answer answer = fovea.ask(Question.of(TALLEST, Image.of(CHART)).withSampling(sampling));
    assertEquals("yel", answer.text());
    assertEquals("low", answer.matchedStop());
  }

  @Test
  void anAnswerHasTheFormThatWasAskedFor() {
    Question question = Question.of(TALLEST, Image.of(CHART));
    String schema =
        "{\"type\":\"object\",\"properties\":{\"colour\":{\"enum\":[\"red\",\"yellow\"]}},"
            + "\"required\":[\"colour\"],\"additionalProperties\":false}";
    Answer json = fovea.ask(question.withFormat(Format.jsonSchema(schema)));
    assertTrue(json.text().matches("\\{ ?\"colour\" ?: ?\"(red|yellow)\" ?}"), json::text);
    assertEquals(FinishReason.STOP, json.finishReason());
    assertEquals("yellow", fovea.ask(question.withFormat(Format.regex("[a-z]{6}"))).text());
    assertEquals("yellow", fovea.ask(question.withFormat(Format.choice("blue", "yellow"))).text());
    Question wrong = question.withFormat(Format.regex("(a"));
    FoveaException refused = assertThrows(FoveaException.class, () -> fovea.ask(wrong));
    assertEquals("response_format.regex", refused.violations().get(0).field());
  }

  @Test
  void logProbabilitiesAreToldWhereTheyAreAskedFor() {
    Question question = Question.of(TALLEST, Image.of(CHART));
    Answer told = fovea.ask(question.withLogprobs());
    assertEquals(told.receipt().totals().outputTokens(), told.tokenIds().size());
    assertEquals(told.tokenIds().size(), told.logprobs().size());
    assertTrue(told.logprobs().stream().allMatch(value -> value <= 0));
    assertEquals(List.of(), fovea.ask(question).logprobs());
    Answer top = fovea.ask(question.withLogprobs(3));
    assertEquals(top.tokenIds().size(), top.topLogprobs().size());
    for (int at = 0; at < top.tokenIds().size(); at++) {
      List<TokenLogprob> likely = top.topLogprobs().get(at);
      assertEquals(3, likely.size());
      assertEquals(top.tokenIds().get(at), likely.get(0).tokenId());
      assertEquals(top.tokenBytes().get(at), likely.get(0).token());
    }
  }

  @Test
  void aQuestionIsCountedAsItIsAsked() {
    Question question = Question.of(TALLEST, Image.of(CHART));
    Count count = fovea.countTokens(question);
    Receipt.Totals totals = fovea.ask(question).receipt().totals();
    assertEquals(totals.visualTokens(), count.visualTokens());
    assertEquals(totals.textTokens(), count.textTokens());
    assertEquals(count.textTokens() + count.visualTokens(), count.promptTokens());
    assertEquals(new Size(256, 192), count.images().get(0).planned());
    assertTrue(count.fitsContext());
    assertTrue(count.kvBytes() > 0);
  }

  @Test
  void anImageIsPutDescribedAndNotSentAgain() {
    Image image = Image.of(Pictures.png(250, 190, 12));
    List<Long> sent = new ArrayList<>();
    Stored first = fovea.put(image, (bytes, total) -> sent.add(bytes));
    assertFalse(first.already());
    assertEquals(ImageFormat.PNG, first.facts().format());
    assertEquals(new Size(250, 190), first.facts().size());
    assertTrue(first.expires().isAfter(Instant.now()));
    assertFalse(first.encoder().isEmpty());
    assertEquals(List.of(first.facts().byteSize()), sent);
    Stored second = fovea.put(image, (bytes, total) -> sent.add(bytes));
    assertTrue(second.already());
    assertEquals(1, sent.size());
    Stored described = fovea.describe(first.facts().digest());
    assertEquals(first.facts(), described.facts());
    assertEquals(first.encoder(), described.encoder());
    assertEquals(described, fovea.put(Image.stored(first.facts().digest())));
    Receipt receipt = fovea.ask(Question.of("?", Image.stored(first.facts().digest()))).receipt();
    assertEquals(first.facts().digest(), receipt.images().get(0).digest());
  }

  /** Noise of 2,650 x 2,650 pixels, stored uncompressed. */
  @Test
  void anImageOfTwentyMiB() {
    byte[] file = Pictures.png(2650, 2650, 13);
    assertTrue(file.length > 20 << 20);
    List<Long> sent = new ArrayList<>();
    Stored stored = fovea.put(Image.of(file), (bytes, total) -> sent.add(bytes));
    assertEquals(file.length, stored.facts().byteSize());
    assertEquals(file.length, sent.get(sent.size() - 1));
    Question question = Question.of("What is this?", Image.of(file)).withMaxPixels(65_536);
    Receipt receipt = fovea.ask(question).receipt();
    assertEquals(stored.facts().digest(), receipt.images().get(0).digest());
    assertEquals(new Size(2650, 2650), receipt.images().get(0).original());
  }

  @Test
  void theServerTellsOfItself(House house) {
    DecoderInfo info = fovea.info();
    assertEquals(ServingState.SERVING, info.state());
    assertEquals("model", info.model());
    assertEquals(8192, info.limits().maxContext());
    assertEquals(512, info.limits().maxNewTokens());
    assertEquals(32 << 20, info.limits().maxImageBytes());
    assertEquals(new Geometry(4096, 16_777_216), info.geometry());
    assertTrue(info.load().kvBlocks() > 0);
    assertTrue(info.features().contains("put_image"));
    assertTrue(info.layout().isPresent());
    DecoderInfo.Encoder encoder = info.encoders().get(0);
    assertEquals(house.encoder.address, encoder.address());
    assertTrue(encoder.reachable() && encoder.compatible());
    assertEquals(info.fingerprint(), encoder.fingerprint());
    assertNotEquals("", encoder.name());
  }
}
