package dev.fovea.client;

/**
 * The bound on the cost of a question's images. Null or 0 takes the server's default.
 *
 * <p>{@code maxPixels} bounds each image. {@code maxVisualTokens} bounds all images together and
 * leaves each image {@code minTokens}. The sides are bounded in pixels. {@code minDetail} is the
 * least detail when the server is under load.
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

  /** Takes the server's defaults. */
  public static final Budget DEFAULT =
      new Budget(null, 0, null, null, null, null, Reduction.DEFAULT, 0, 0, 0);

  /** How much detail of an image matters. */
  public enum Detail {
    /** The least detail. */
    LOW,
    /** Full detail, up to maxPixels. */
    HIGH,
    /** The smallest size at which text stays readable. */
    AUTO
  }

  /** What to do with images that do not fit maxVisualTokens. */
  public enum OnOverBudget {
    /** Shrink them until they fit. */
    FIT,
    /** Refuse the request with VISUAL_BUDGET_EXCEEDED. */
    REFUSE
  }

  /** What to do with an image that occurs more than once in a question. */
  public enum RepeatPolicy {
    /** Keep its tokens at each position. */
    KEEP,
    /** Replace later copies with a reference in the text. */
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
    /** The share is chosen for each image. */
    AUTO
  }

  /**
   * Which visual tokens are dropped. {@code keep} is the share to keep and excludes a mode. {@code
   * flatTolerance} drops uniform patches: 0 those of exactly a single colour, higher values the
   * largest allowed difference per channel. {@code nearRepeats} is the share to keep of consecutive
   * similar images, such as video frames.
   */
  public record Reduction(
      Double keep, Mode mode, Reducer reducer, Integer flatTolerance, Double nearRepeats) {
    /** Takes the server's defaults. */
    public static final Reduction DEFAULT = new Reduction(null, null, null, null, null);
  }

  /** Builds a budget: {@code Budget.with().detail(AUTO).build()}. */
  public static Builder with() {
    return DEFAULT.but();
  }

  /** A builder that starts from this budget. */
  public Builder but() {
    return new Builder(this);
  }

  /**
   * The maxPixels at which an image is planned, as far as its size determines it: the tokens of a
   * question may all go to a single image. If even the smallest size does not fit, the server
   * refuses.
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

  /** Builds a budget field by field. */
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

    /** Each image is resized to at most this many pixels. */
    public Builder maxPixels(int most) {
      maxPixels = most;
      return this;
    }

    /** All images together cost at most this many visual tokens. */
    public Builder maxVisualTokens(int most) {
      maxVisualTokens = most;
      return this;
    }

    /** How much detail of each image matters. */
    public Builder detail(Detail wanted) {
      detail = wanted;
      return this;
    }

    /** The least detail when the server is under load. */
    public Builder minDetail(Detail least) {
      minDetail = least;
      return this;
    }

    /** What to do with images that do not fit. */
    public Builder onOverBudget(OnOverBudget what) {
      onOverBudget = what;
      return this;
    }

    /** What to do with an image that occurs more than once. */
    public Builder repeatPolicy(RepeatPolicy policy) {
      repeatPolicy = policy;
      return this;
    }

    /** Which visual tokens are dropped. */
    public Builder reduction(Reduction wanted) {
      reduction = wanted;
      return this;
    }

    /** How many are kept. The server chooses the reducer. */
    public Builder reduction(Mode mode) {
      return reduction(new Reduction(null, mode, null, null, null));
    }

    /** maxVisualTokens gives no image fewer visual tokens than this. */
    public Builder minTokens(int least) {
      minTokens = least;
      return this;
    }

    /** The shorter side of each image is resized to at most this many pixels. */
    public Builder maxShortSide(int most) {
      maxShortSide = most;
      return this;
    }

    /** The longer side of each image is resized to at most this many pixels. */
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
