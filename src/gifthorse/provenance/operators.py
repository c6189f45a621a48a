"""Operators by their names in ATen, ONNX and Keras: which are ordinary in a classifier, and what the others do.

Names are compared in small letters and without underscores, so that ``aten._softmax.default`` and ``Softmax`` are one.
"""

from functools import cache
from typing import Final


@cache
def plain(operator: str) -> str:
    """``aten.add_.Tensor``, ``aten::add_`` and ``Add`` as ``add``."""
    name = operator.removeprefix("aten::")
    if name.startswith("aten."):
        name = name.split(".")[1]
    return name.lower().replace("_", "")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


WEIGHING: Final = _names(
    """
    conv convolution conv1d conv2d conv3d convtranspose convtranspose1d convtranspose2d convtranspose3d
    conv1dtranspose conv2dtranspose conv3dtranspose convolution1d convolution2d convolution3d convolutionoverrideable
    mkldnnconvolution cudnnconvolution thnnconv2d slowconv2d convdepthwise2d fusedconv qlinearconv convinteger
    depthwiseconv1d depthwiseconv2d separableconv1d separableconv2d separableconvolution1d separableconvolution2d
    linear addmm mm matmul bmm baddbmm addbmm gemm dense einsum einsumdense qlinearmatmul matmulinteger embedding
    gru lstm simplernn multiheadattention nativemultiheadattention transformerencoderlayerfwd addmmactivation
    mkldnnlinear nestedlinear addmv mv convlstm1d convlstm2d convlstm3d
    """
)
"""Products: with weights, what is learned; with other values of the image, attention."""

SHAPES: Final = _names(
    """
    shape size symsize numel stride isfloatingpoint dim
    emptylike zeroslike oneslike fulllike newempty newzeros newones newfull
    """
)
"""What depends on an image's size and not on what is in it."""

RANDOM: Final = _names(
    """
    bernoulli multinomial normal normalfunctional rand randlike randn randnlike randint randintlike randperm poisson
    exponential geometric cauchy lognormal uniform random randomnormal randomnormallike randomuniform randomuniformlike
    """
)
BRANCHES: Final = _names(
    """
    if loop scan cond whileloop while localscalardense item bool isnonzero switch merge statelessif statelesswhile map
    """
)
_COMPARING: Final = _names(
    """
    gt ge lt le eq ne equal greater greaterequal greaterorequal less lessequal lessorequal notequal isclose allclose
    where sign sgn signbit heaviside step searchsorted bucketize argmax argmin max.dim isin isnan isinf isfinite
    logicaland logicalor logicalnot logicalxor and or xor not bitwiseand bitwiseor bitwisexor bitwisenot threshold
    thresholdedrelu maskedfill maskedscatter maskedselect mathgreater mathless mathequal
    """
)
_PICKING: Final = _names(
    """
    index indexselect gather gatherelements gathernd take takealongdim indexput indexputimpl indexadd indexcopy
    indexfill scatter scatteradd scatterelements scatternd scatterreduce nonzero nonzerostatic unique uniquedim unique2
    onehot onehotencoder compress tfidfvectorizer
    """
)
_SORTING: Final = _names("sort argsort topk kthvalue median nanmedian mode histc bincount")
_ROUNDING: Final = _names("round floor ceil trunc frac fmod remainder mod floordivide roundint quantizelinear")
_DOING: Final = {
    **dict.fromkeys(_COMPARING, "compares values of the image, and goes by steps"),
    **dict.fromkeys(_PICKING, "picks single numbers out of the image's values"),
    **dict.fromkeys(_SORTING, "sorts values of the image"),
    **dict.fromkeys(_ROUNDING, "rounds values of the image, and goes by steps"),
    **dict.fromkeys(RANDOM, "draws by lot"),
    **dict.fromkeys(BRANCHES, "lets the program decide by values of the image"),
}

ORDINARY: Final = (
    WEIGHING
    | SHAPES
    | _names(
        """
        relu relu6 leakyrelu prelu rrelu elu celu selu gelu silu swish hardswish hardsilu hardsigmoid hardtanh mish
        softplus softsign tanh sigmoid erf clamp clip clampmin clampmax softmax logsoftmax sparsemax activation fastgelu
        biasgelu logsigmoid logsigmoidforward hardmish glu
        add sub rsub mul div reciprocal neg exp log log2 log10 log1p expm1 sqrt rsqrt pow square abs sum mean average
        addcmul addcdiv addn subtract multiply divide truedivide power negative absolute maximum minimum max min
        reducesum reducemean reducemax reducemin reducel1 reducel2 reducesumsquare reducelogsumexp logsumexp norm
        linalgvectornorm var varmean std prod amax amin aminmax dot lerp cumsum sin cos
        maxpool maxpool1d maxpool2d maxpool3d maxpool2dwithindices maxpool3dwithindices averagepool avgpool1d avgpool2d
        avgpool3d globalaveragepool globalmaxpool adaptiveavgpool1d adaptiveavgpool2d adaptiveavgpool3d
        adaptivemaxpool1d adaptivemaxpool2d lppool globallppool averagepooling1d averagepooling2d averagepooling3d
        maxpooling1d maxpooling2d maxpooling3d globalaveragepooling1d globalaveragepooling2d globalaveragepooling3d
        globalmaxpooling1d globalmaxpooling2d globalmaxpooling3d mkldnnmaxpool2d mkldnnadaptiveavgpool2d
        fractionalmaxpool2d fractionalmaxpool3d adaptiveaveragepooling1d adaptiveaveragepooling2d
        adaptiveaveragepooling3d adaptivemaxpooling1d adaptivemaxpooling2d adaptivemaxpooling3d
        batchnorm nativebatchnorm nativebatchnormlegit nativebatchnormlegitnotraining batchnormalization
        batchnormalizationv1 batchnormalizationv2 cudnnbatchnorm miopenbatchnorm batchnormimplindex instancenorm
        instancenormalization groupnorm nativegroupnorm groupnormalization layernorm nativelayernorm
        layernormalization rmsnorm rmsnormalization fusedrmsnorm localresponsenorm lrn meanvariancenormalization
        unitnormalization lpnormalization normalization spectralnormalization rescaling simplifiedlayernormalization
        skiplayernormalization
        view viewas unsafeview reshape reshapealias reshapelike flatten unflatten squeeze unsqueeze transpose t permute
        movedim expand expandas repeat repeatinterleave tile cat concat concatenate stack unbind split splitwithsizes
        chunk slice select narrow flip roll pad constantpadnd reflectionpad1d reflectionpad2d replicationpad1d
        replicationpad2d zeropadding1d zeropadding2d zeropadding3d cropping1d cropping2d cropping3d centercrop
        randomcrop resize resizing upsample upsamplenearest1d upsamplenearest2d upsamplenearestexact2d
        upsamplebilinear2d upsamplebilinear2daa upsamplebicubic2d upsampling1d upsampling2d upsampling3d pixelshuffle
        pixelunshuffle channelshuffle nativechannelshuffle depthtospace spacetodepth im2col col2im unfold asstrided
        repeatvector getitem diagonal tril triu rot90 swapaxes
        identity alias lift liftfresh detach clone copy contiguous to tocopy type typeas cast castlike dropout
        nativedropout alphadropout featuredropout gaussiandropout gaussiannoise spatialdropout1d spatialdropout2d
        spatialdropout3d activityregularization fill zero masking inputlayer asserttensormetadata float half double
        broadcastto tomkldnn todense dequantizelinear scaleddotproductattention scaleddotproductflashattention
        scaleddotproductflashattentionforcpu scaleddotproductefficientattention scaleddotproductattentionmath
        scaleddotproductfusedattentionoverrideable scaleddotproductcudnnattention attention additiveattention
        groupqueryattention grucell lstmcell rnn bidirectional timedistributed convolutionbackward safesoftmax
        transformbiasrescaleqkv trilu expanddims moveaxis normalize layerscale stochasticdepth customscalelayer
        """
    )
)
"""What is taken without a word. Anything else is a finding: what is dangerous would be a list without an end."""


def what_it_does(operator: str) -> str:
    """What an operator that is not ordinary does with an image."""
    return _DOING.get(plain(operator), "is not known here")
