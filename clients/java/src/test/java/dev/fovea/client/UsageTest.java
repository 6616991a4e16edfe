package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The ledger, idempotency keys and quotes, against a decoder that does what a test wants. */
@Timeout(120)
class UsageTest {
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

  @Test
  void recordsAreReadPageByPage() {
    var filter = UsageFilter.ALL.withStart(FakeUsage.BEGAN).withOutcome(Outcome.DEADLINE);
    List<UsageRecord> records = fovea.listUsage(filter).toList();
    assertEquals(List.of("1", "2", "3"), records.stream().map(UsageRecord::id).toList());
    for (UsageRecord record : records) {
      assertEquals(FakeUsage.BEGAN, record.start());
      assertEquals(Outcome.DEADLINE, record.outcome());
      assertEquals(7, record.receipt().totals().outputTokens());
    }
    var asked = server.usage.listed.get(1);
    assertEquals("next", asked.getPageToken());
    assertEquals(dev.fovea.decoder.v1.Outcome.OUTCOME_DEADLINE, asked.getFilter().getOutcome());
    assertEquals(5000, asked.getFilter().getStartTime().getNanos());
    assertFalse(asked.getFilter().hasEndTime());
  }

  @Test
  void aPageThatIsNotReadIsNotFetched() {
    var read = fovea.listUsage(UsageFilter.ALL).limit(2).toList();
    assertEquals(2, read.size());
    assertEquals(1, server.usage.listed.size());
  }

  @Test
  void theRecordsOfARequestAreReadByItsId() {
    assertEquals("DEADLINE_EXCEEDED", fovea.getUsage("r").get(0).reason());
    var failed = assertThrows(FoveaException.class, () -> fovea.getUsage("other"));
    assertEquals(Reason.LEDGER_DISABLED, failed.reason());
  }

  @Test
  void sumsAreReadByAnyDimension() {
    var sums =
        fovea.summarizeUsage(UsageDimension.IMAGE_KIND, UsageFilter.ALL.withTenant("acme"));
    assertEquals("photo", sums.get(0).key());
    assertEquals(3, sums.get(0).deadline());
    assertEquals(1L << 40, sums.get(0).visualTokens());
    assertEquals(new Receipt.Price(0.5, "EUR", 0), sums.get(0).price());
    for (UsageDimension by : UsageDimension.values()) {
      fovea.summarizeUsage(by, UsageFilter.ALL);
    }
    fovea.summarizeUsage(null, UsageFilter.ALL);
    var asked = server.usage.summarized;
    assertEquals("acme", asked.get(0).getFilter().getTenant());
    assertEquals("USAGE_DIMENSION_IMAGE_KIND", asked.get(0).getBy().name());
    assertEquals("USAGE_DIMENSION_UNSPECIFIED", asked.get(asked.size() - 1).getBy().name());
  }

  @Test
  void anomaliesAreRead() {
    var anomalies = fovea.listAnomalies("acme");
    var expected =
        new Anomaly(AnomalyKind.NEW_IMAGES, "acme", FakeUsage.BEGAN, "r", "", 0.25, 1, "");
    assertEquals(expected, anomalies.get(0));
    assertEquals(AnomalyKind.UNKNOWN, anomalies.get(1).kind());
    fovea.listAnomalies();
    assertEquals(List.of("acme", ""), server.usage.tenants);
  }

  @Test
  void aQuoteIsSentBackWithTheRequest() {
    Question question = Question.of("?").withIdempotencyKey("order 7");
    Quote quote = fovea.countTokens(question).quote().orElseThrow();
    var expires = Instant.ofEpochSecond(1_700_000_000);
    assertEquals(new Quote("signed", 65, 0.5, "EUR", expires), quote);
    fovea.countTokens(question.withQuote(quote).withLogprobs().withRequestId("r"));
    assertEquals("", server.asked.get(0).getQuote());
    assertEquals("signed", server.asked.get(1).getQuote());
    assertEquals("order 7", server.asked.get(1).getIdempotencyKey());
  }

  @Test
  void theRouteIsSentWithTheRequest() {
    fovea.countTokens(Question.of("?").withRoute(new Route("large", 2, "parent", true)).withLogprobs());
    var sent = server.asked.get(server.asked.size() - 1);
    assertEquals("large", sent.getTier());
    assertEquals(2, sent.getHopLimit());
    assertEquals("parent", sent.getParentRequestId());
    assertTrue(sent.getAllowTextSubstitution());
  }
}
