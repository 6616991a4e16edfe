package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fovea.decoder.v1.Alternative;
import dev.fovea.decoder.v1.CountTokensResponse;
import dev.fovea.decoder.v1.Detail;
import dev.fovea.decoder.v1.ImagePlan;
import dev.fovea.decoder.v1.OnOverBudget;
import dev.fovea.decoder.v1.RepeatPolicy;
import dev.fovea.decoder.v1.VisualBudget;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

/** What a budget becomes on the wire, and what comes back of one. */
class BudgetTest {
  private static final Budget WHOLE =
      Budget.with()
          .maxPixels(1)
          .maxVisualTokens(2)
          .detail(Budget.Detail.AUTO)
          .minDetail(Budget.Detail.LOW)
          .onOverBudget(Budget.OnOverBudget.REFUSE)
          .repeatPolicy(Budget.RepeatPolicy.REFERENCE)
          .reduction(new Budget.Reduction(0.5, null, Reducer.DIVPRUNE, 0, 0.25))
          .minTokens(3)
          .maxShortSide(4)
          .maxLongSide(5)
          .build();

  private static VisualBudget sent(Budget budget) {
    return Draft.of(Question.of("?").withBudget(budget)).request().getVisual();
  }

  @Test
  void aBudgetIsSentWhole() {
    var expected =
        VisualBudget.newBuilder()
            .setMaxPixels(1)
            .setMaxVisualTokens(2)
            .setDetail(Detail.DETAIL_AUTO)
            .setMinDetail(Detail.DETAIL_LOW)
            .setOnOverBudget(OnOverBudget.ON_OVER_BUDGET_REFUSE)
            .setRepeatPolicy(RepeatPolicy.REPEAT_POLICY_REFERENCE)
            .setMinTokens(3)
            .setMaxShortSide(4)
            .setMaxLongSide(5);
    expected
        .getReductionBuilder()
        .setKeep(0.5f)
        .setReducer(dev.fovea.vision.v1.Reducer.REDUCER_DIVPRUNE)
        .setFlatTolerance(0)
        .setNearRepeats(0.25f);
    assertEquals(expected.build(), sent(WHOLE));
    assertEquals(WHOLE, Convert.budget(expected.build()));
    assertEquals(0, sent(Budget.DEFAULT).getSerializedSize());
    assertEquals(Budget.DEFAULT, Convert.budget(VisualBudget.getDefaultInstance()));
  }

  @Test
  void everyModeIsSent() {
    for (Budget.Mode mode : Budget.Mode.values()) {
      Budget budget = Budget.with().reduction(mode).build();
      assertEquals(budget, Convert.budget(sent(budget)));
    }
  }

  @Test
  void maxPixelsIsShortForABudget() {
    Question question = Question.of("?").withBudget(WHOLE).withMaxPixels(7);
    assertEquals(WHOLE.but().maxPixels(7).build(), question.budget());
  }

  @Test
  void aSizeStandsForAnImage() {
    Question question =
        Question.of(List.of(Message.user(new Size(1600, 1200), Part.text("?"))));
    var part = Draft.of(question).request().getMessages(0).getParts(0);
    assertEquals(new Size(1600, 1200), Convert.size(part.getImage().getSize()));
  }

  @Test
  void aCountSaysWhatOtherBudgetsWouldCost() {
    Count count =
        Convert.count(
            CountTokensResponse.newBuilder()
                .setExact(true)
                .setPrefillMs(8)
                .addPlans(ImagePlan.newBuilder().setTokens(9))
                .addPlans(ImagePlan.newBuilder().setTokens(9).setRepeatOf(0))
                .addAlternatives(
                    Alternative.newBuilder()
                        .setName("detail high")
                        .setVisual(VisualBudget.newBuilder().setDetail(Detail.DETAIL_HIGH))
                        .setKvBytes(10))
                .build());
    assertTrue(count.exact());
    assertEquals(OptionalInt.empty(), count.plans().get(0).repeatOf());
    assertEquals(OptionalInt.of(0), count.plans().get(1).repeatOf());
    var other = count.alternatives().get(0);
    assertEquals(Budget.with().detail(Budget.Detail.HIGH).build(), other.budget());
    assertEquals(10, other.kvBytes());
  }
}
