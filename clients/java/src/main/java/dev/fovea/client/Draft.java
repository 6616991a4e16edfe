package dev.fovea.client;

import dev.fovea.decoder.v1.Choice;
import dev.fovea.decoder.v1.Detail;
import dev.fovea.decoder.v1.GenerateRequest;
import dev.fovea.decoder.v1.Logprobs;
import dev.fovea.decoder.v1.OnOverBudget;
import dev.fovea.decoder.v1.Reduction;
import dev.fovea.decoder.v1.ReductionMode;
import dev.fovea.decoder.v1.RepeatPolicy;
import dev.fovea.decoder.v1.ResponseFormat;
import dev.fovea.decoder.v1.Role;
import dev.fovea.decoder.v1.ToolChoice;
import dev.fovea.decoder.v1.ToolMode;
import dev.fovea.decoder.v1.VisualBudget;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A question as a request that names files by their ids, and the files that must be stored first.
 * {@code files} holds their paths by the position of the image in the request, for instance {@code
 * messages[0].parts[1].image}. It sends nothing.
 */
record Draft(GenerateRequest request, Collection<Upload> uploads, Map<String, String> files) {

  /** Reads the files for their ids. */
  static Draft of(Question question) {
    Map<String, Upload> uploads = new LinkedHashMap<>();
    GenerateRequest.Builder request =
        GenerateRequest.newBuilder()
            .setRequestId(question.requestId())
            .setIdempotencyKey(question.idempotencyKey())
            .setTier(question.route().tier())
            .setHopLimit(question.route().hopLimit())
            .setParentRequestId(question.route().parentRequestId())
            .setAllowTextSubstitution(question.route().allowTextSubstitution());
    question.messages().forEach(message -> request.addMessages(message(message, uploads)));
    request.setSampling(sampling(question.sampling()));
    request.setVisual(visual(question.budget()));
    question.format().ifPresent(format -> request.setResponseFormat(format(format)));
    question.topLogprobs().ifPresent(top -> request.setLogprobs(Logprobs.newBuilder().setTop(top)));
    question.quote().ifPresent(quote -> request.setQuote(quote.token()));
    write(question.turn(), request);
    return new Draft(request.build(), uploads.values(), files(question));
  }

  /** The failure of a call with this draft, with the file that it is about. */
  FoveaException named(FoveaException failure) {
    return failure.violations().stream()
        .map(violation -> files.getOrDefault(violation.field(), ""))
        .filter(file -> !file.isEmpty())
        .findFirst()
        .map(failure::about)
        .orElse(failure);
  }

  private static Map<String, String> files(Question question) {
    Map<String, String> files = new LinkedHashMap<>();
    for (int at = 0; at < question.messages().size(); at++) {
      List<Part> parts = question.messages().get(at).parts();
      for (int place = 0; place < parts.size(); place++) {
        if (parts.get(place) instanceof Image.File file) {
          files.put("messages[%d].parts[%d].image".formatted(at, place), file.path().toString());
        }
      }
    }
    return files;
  }

  private static dev.fovea.decoder.v1.Message message(
      Message message, Map<String, Upload> uploads) {
    var built =
        dev.fovea.decoder.v1.Message.newBuilder()
            .setRole(role(message.role()))
            .setToolCallId(message.toolCallId())
            .setReasoning(message.reasoning());
    message.parts().forEach(part -> built.addParts(part(part, uploads)));
    message.toolCalls().forEach(call -> built.addToolCalls(toolCall(call)));
    return built.build();
  }

  private static dev.fovea.decoder.v1.ToolCall toolCall(ToolCall call) {
    return dev.fovea.decoder.v1.ToolCall.newBuilder()
        .setId(call.id())
        .setName(call.name())
        .setArguments(call.arguments())
        .build();
  }

  private static void write(Turn turn, GenerateRequest.Builder request) {
    ToolUse use = turn.tools();
    use.tools().forEach(tool -> request.addTools(tool(tool)));
    if (use.name().isPresent()) {
      request.setToolChoice(ToolChoice.newBuilder().setName(use.name().get()));
    } else if (use.called() != ToolUse.Called.AUTO) {
      request.setToolChoice(
          ToolChoice.newBuilder()
              .setMode(Convert.message(ToolMode.class, "TOOL_MODE", use.called())));
    }
    if (!use.parallel()) {
      request.setParallelToolCalls(false);
    }
    turn.thinking().ifPresent(request::setThinking);
    request.setContinueFinalMessage(turn.continuesFinalMessage());
  }

  private static dev.fovea.decoder.v1.Tool tool(Tool tool) {
    return dev.fovea.decoder.v1.Tool.newBuilder()
        .setName(tool.name())
        .setDescription(tool.description())
        .setParameters(tool.parameters())
        .setStrict(tool.strict())
        .build();
  }

  private static Role role(Message.Role role) {
    return switch (role) {
      case SYSTEM -> Role.ROLE_SYSTEM;
      case USER -> Role.ROLE_USER;
      case ASSISTANT -> Role.ROLE_ASSISTANT;
      case TOOL -> Role.ROLE_TOOL;
    };
  }

  private static dev.fovea.decoder.v1.Part part(Part part, Map<String, Upload> uploads) {
    var built = dev.fovea.decoder.v1.Part.newBuilder();
    if (part instanceof Part.Text text) {
      return built.setText(text.text()).build();
    }
    if (part instanceof Size size) {
      var unseen =
          dev.fovea.vision.v1.Size.newBuilder().setWidth(size.width()).setHeight(size.height());
      return built.setImage(dev.fovea.decoder.v1.Image.newBuilder().setSize(unseen)).build();
    }
    String digest = digest((Image) part, uploads);
    return built.setImage(dev.fovea.decoder.v1.Image.newBuilder().setDigest(digest)).build();
  }

  private static String digest(Image image, Map<String, Upload> uploads) {
    if (image instanceof Image.Id id) {
      return id.digest();
    }
    Upload upload = Shelf.upload(image);
    uploads.putIfAbsent(upload.digest(), upload);
    return upload.digest();
  }

  private static VisualBudget visual(Budget budget) {
    var built =
        VisualBudget.newBuilder()
            .setMaxVisualTokens(budget.maxVisualTokens())
            .setDetail(Convert.message(Detail.class, "DETAIL", budget.detail()))
            .setMinDetail(Convert.message(Detail.class, "DETAIL", budget.minDetail()))
            .setOnOverBudget(
                Convert.message(OnOverBudget.class, "ON_OVER_BUDGET", budget.onOverBudget()))
            .setRepeatPolicy(
                Convert.message(RepeatPolicy.class, "REPEAT_POLICY", budget.repeatPolicy()))
            .setMinTokens(budget.minTokens())
            .setMaxShortSide(budget.maxShortSide())
            .setMaxLongSide(budget.maxLongSide());
    if (budget.maxPixels() != null) {
      built.setMaxPixels(budget.maxPixels());
    }
    if (!budget.reduction().equals(Budget.Reduction.DEFAULT)) {
      built.setReduction(reduction(budget.reduction()));
    }
    return built.build();
  }

  private static Reduction reduction(Budget.Reduction wanted) {
    var built =
        Reduction.newBuilder()
            .setMode(Convert.message(ReductionMode.class, "REDUCTION_MODE", wanted.mode()))
            .setReducer(Convert.reducer(wanted.reducer()));
    if (wanted.keep() != null) {
      built.setKeep(wanted.keep().floatValue());
    }
    if (wanted.flatTolerance() != null) {
      built.setFlatTolerance(wanted.flatTolerance());
    }
    if (wanted.nearRepeats() != null) {
      built.setNearRepeats(wanted.nearRepeats().floatValue());
    }
    return built.build();
  }

  private static ResponseFormat format(Format format) {
    var built = ResponseFormat.newBuilder();
    if (format instanceof Format.JsonSchema json) {
      return built.setJsonSchema(json.schema()).build();
    }
    if (format instanceof Format.Regex regex) {
      return built.setRegex(regex.pattern()).build();
    }
    List<String> options = ((Format.Choice) format).options();
    return built.setChoice(Choice.newBuilder().addAllOptions(options)).build();
  }

  /** With the checkpoint's defaults a zero counts as unset; {@code neutral} has the same effect. */
  private static float sent(Sampling chosen, float value, float neutral) {
    return value == 0 && chosen.checkpointDefaults() ? neutral : value;
  }

  private static dev.fovea.decoder.v1.Sampling sampling(Sampling chosen) {
    var built =
        dev.fovea.decoder.v1.Sampling.newBuilder()
            .addAllStop(chosen.stop())
            .putAllLogitBias(chosen.logitBias())
            .setCheckpointDefaults(chosen.checkpointDefaults());
    if (chosen.temperature() != null) {
      built.setTemperature(sent(chosen, chosen.temperature(), 0.001f));
    }
    if (chosen.topP() != null) {
      built.setTopP(chosen.topP());
    }
    if (chosen.topK() != null) {
      built.setTopK(chosen.topK() == 0 && chosen.checkpointDefaults() ? -1 : chosen.topK());
    }
    if (chosen.minP() != null) {
      built.setMinP(sent(chosen, chosen.minP(), 1e-30f));
    }
    if (chosen.repetitionPenalty() != null) {
      built.setRepetitionPenalty(chosen.repetitionPenalty());
    }
    if (chosen.presencePenalty() != null) {
      built.setPresencePenalty(chosen.presencePenalty());
    }
    if (chosen.frequencyPenalty() != null) {
      built.setFrequencyPenalty(chosen.frequencyPenalty());
    }
    if (chosen.seed() != null) {
      built.setSeed(chosen.seed());
    }
    if (chosen.maxNewTokens() != null) {
      built.setMaxNewTokens(chosen.maxNewTokens());
    }
    return built.build();
  }
}
