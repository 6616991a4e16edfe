package dev.fovea.client;

/**
 * What the images of a question may cost. What is null or 0 is the server's choice.
 *
 * <p>{@code maxPixels} bounds each image, {@code maxVisualTokens} all of them together, though it
 * leaves each image {@code minTokens}; the sides are bounded in pixels. {@code minDetail} is what
 * remains of an image when the server is near a limit.
 */
public record Budget(
    Integer maxPixels,
    int maxVisualTokens,
    Detail detail,
    Detail minDetail,
    OnOverBudget onOverBudget,
    RepeatPolicy repeatPolicy,
    Reduction reduction,
    int minTokens,
    int maxShortSide,
    int maxLongSide) {

  /** All is the server's choice. */
  public static final Budget DEFAULT =
      new Budget(null, 0, null, null, null, null, Reduction.DEFAULT, 0, 0, 0);

  /** How much of an image matters. */
  public enum Detail {
    /** The least. */
    LOW,
    /** All that is there, up to maxPixels. */
    HIGH,
    /** The smallest size at which text stays readable. */
    AUTO
  }

  /** What happens to images that do not fit maxVisualTokens. */
  public enum OnOverBudget {
    /** They are shrunk until they do. */
    FIT,
    /** They are refused with VISUAL_BUDGET_EXCEEDED. */
    REFUSE
  }

  /** What happens to an image that stands in a question twice. */
  public enum RepeatPolicy {
    /** Its tokens stay in each place. */
    KEEP,
    /** Later copies become a reference in the text. */
    REFERENCE
  }

  /** How many visual tokens are kept. */
  public enum Mode {
    /** All. */
    OFF,
    /** Three quarters. */
    ECONOMY,
    /** Half. */
    STRONG,
    /** What adds something, image by image. */
    AUTO
  }

  /**
   * Which visual tokens are left out. {@code keep} is the share to keep, not beside a mode; {@code
   * flatTolerance} leaves squares of one colour out, 0 those of exactly one; {@code nearRepeats} is
   * the share to keep of images that follow each other as in a video.
   */
  public record Reduction(
      Double keep, Mode mode, Reducer reducer, Integer flatTolerance, Double nearRepeats) {
    /** All is the server's choice. */
    public static final Reduction DEFAULT = new Reduction(null, null, null, null, null);
  }

  /** A budget is written by what is said of it: {@code Budget.with().detail(AUTO).build()}. */
  public static Builder with() {
    return DEFAULT.but();
  }

  /** This budget with something else said of it. */
  public Builder but() {
    return new Builder(this);
  }

  /**
   * The maxPixels at which an image is planned, as far as its size alone tells: the tokens of a
   * question may all go to one image. Where not even the fewest pixels fit, the server refuses.
   */
  int limit(int width, int height, Geometry geometry) {
    int most = maxPixels == null ? Geometry.DEFAULT_MAX_PIXELS : maxPixels;
    int limit = geometry.limit(width, height, most, maxShortSide, maxLongSide);
    if (maxVisualTokens == 0) {
      return limit;
    }
    int tokens = Math.max(maxVisualTokens, minTokens);
    return geometry.within(Math.min(limit, geometry.largestFitting(width, height, tokens).orElse(1)));
  }

  /** Says one thing after the other. */
  public static final class Builder {
    private Integer maxPixels;
    private int maxVisualTokens;
    private Detail detail;
    private Detail minDetail;
    private OnOverBudget onOverBudget;
    private RepeatPolicy repeatPolicy;
    private Reduction reduction;
    private int minTokens;
    private int maxShortSide;
    private int maxLongSide;

    private Builder(Budget from) {
      maxPixels = from.maxPixels;
      maxVisualTokens = from.maxVisualTokens;
      detail = from.detail;
      minDetail = from.minDetail;
      onOverBudget = from.onOverBudget;
      repeatPolicy = from.repeatPolicy;
      reduction = from.reduction;
      minTokens = from.minTokens;
      maxShortSide = from.maxShortSide;
      maxLongSide = from.maxLongSide;
    }

    /** Each image is shrunk to at most this many pixels. */
    public Builder maxPixels(int most) {
      maxPixels = most;
      return this;
    }

    /** All images together cost at most this many visual tokens. */
    public Builder maxVisualTokens(int most) {
      maxVisualTokens = most;
      return this;
    }

    /** How much of each image matters. */
    public Builder detail(Detail wanted) {
      detail = wanted;
      return this;
    }

    /** What remains of it when the server is near a limit. */
    public Builder minDetail(Detail least) {
      minDetail = least;
      return this;
    }

    /** What happens to images that do not fit. */
    public Builder onOverBudget(OnOverBudget what) {
      onOverBudget = what;
      return this;
    }

    /** What happens to an image that stands in the question twice. */
    public Builder repeatPolicy(RepeatPolicy policy) {
      repeatPolicy = policy;
      return this;
    }

    /** Which visual tokens are left out. */
    public Builder reduction(Reduction wanted) {
      reduction = wanted;
      return this;
    }

    /** How many are left out, by the server's choice of the reducer. */
    public Builder reduction(Mode mode) {
      return reduction(new Reduction(null, mode, null, null, null));
    }

    /** No image is given fewer visual tokens by maxVisualTokens. */
    public Builder minTokens(int least) {
      minTokens = least;
      return this;
    }

    /** The shorter side of each image is shrunk to at most this many pixels. */
    public Builder maxShortSide(int most) {
      maxShortSide = most;
      return this;
    }

    /** The longer side of each image is shrunk to at most this many pixels. */
    public Builder maxLongSide(int most) {
      maxLongSide = most;
      return this;
    }

    /** The budget. */
    public Budget build() {
      return new Budget(
          maxPixels,
          maxVisualTokens,
          detail,
          minDetail,
          onOverBudget,
          repeatPolicy,
          reduction,
          minTokens,
          maxShortSide,
          maxLongSide);
    }
  }
}
