package dev.fovea.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonParser;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Tool calls and prefilled turns, from the real services with the stand-in model. */
@Timeout(300)
@ExtendWith(House.Shared.class)
class ToolsTest {
  private static final Tool LOOK =
      new Tool(
          "look",
          "Looks at a place.",
          """
          {"type": "object", "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 9}},
           "required": ["x"], "additionalProperties": false}""");

  private Fovea fovea;

  @BeforeEach
  void connect(House house) {
    fovea = Fovea.connect(house.decoder.address);
  }

  @AfterEach
  void close() {
    fovea.close();
  }

  private static void isLook(ToolCall call) {
    assertEquals("look", call.name());
    assertFalse(call.id().isEmpty());
    int x = JsonParser.parseString(call.arguments()).getAsJsonObject().get("x").getAsInt();
    assertTrue(0 <= x && x <= 9);
  }

  @Test
  void aForcedCallAndItsResult() {
    var tools = ToolUse.of(LOOK).calling("look").once();
    Answer answer = fovea.ask(Question.of("Where is it?").withTools(tools));
    assertEquals(FinishReason.TOOL_CALLS, answer.finishReason());
    assertEquals("", answer.text());
    assertEquals(1, answer.toolCalls().size());
    ToolCall call = answer.toolCalls().get(0);
    isLook(call);
    var turns =
        List.of(
            Message.user("Where is it?"),
            Message.assistant(answer),
            Message.result(call, Part.text("Here.")));
    Question next = Question.of(turns).withTools(ToolUse.of(LOOK));
    long counted = fovea.countTokens(next).promptTokens();
    assertEquals(counted, fovea.ask(next).receipt().totals().textTokens());
  }

  @Test
  void aForcedCallStreams() {
    var question =
        Question.of("Where is it?").withTools(ToolUse.of(LOOK).called(ToolUse.Called.REQUIRED));
    List<ToolCall.Delta> deltas = new ArrayList<>();
    try (AnswerStream stream = fovea.stream(question)) {
      stream.forEachRemaining(
          event -> {
            if (event instanceof Event.Text text) {
              deltas.addAll(text.toolCalls());
            }
          });
    }
    assertFalse(deltas.isEmpty());
    ToolCall.merged(deltas).forEach(ToolsTest::isLook);
  }

  @Test
  void whatIsWrongIsNamed() {
    Question plain = Question.of("?");
    var wrong =
        Map.of(
            "tools[0].name", plain.withTools(ToolUse.of(new Tool("a b", "", ""))),
            "tools[0].parameters",
                plain.withTools(ToolUse.of(new Tool("a", "", "{\"not\": {}}", true))),
            "tools", plain.withTools(ToolUse.of(new Tool("a", "x".repeat(1 << 20), ""))),
            "tool_choice", plain.withTools(ToolUse.NONE.called(ToolUse.Called.REQUIRED)),
            "tool_choice.name", plain.withTools(ToolUse.of(LOOK).calling("")),
            "thinking", plain.withThinking(true),
            "messages[0]", plain.continuingFinalMessage());
    wrong.forEach(
        (field, question) -> {
          var failure = assertThrows(FoveaException.class, () -> fovea.ask(question), field);
          assertEquals(field, failure.violations().get(0).field());
        });
  }

  @Test
  void anAnswerContinuesAMessage() {
    var turns = List.of(Message.user("?"), Message.assistant("It is"));
    Question question =
        Question.of(turns).continuingFinalMessage().withFormat(Format.choice(" red", " blue"));
    assertTrue(List.of(" red", " blue").contains(fovea.ask(question).text()));
  }
}
