// The lab in Chinese: English sentences, as `t` has them, and what stands in their place. Terms are
// those of docs/explained.zh.md.

export const ZH: Readonly<Record<string, string>> = {
  // lists and pairs
  '{0}, {1}': '{0}、{1}',
  '{0}{1}': '{0}{1}',
  '{0} to {1}': '{0} 到 {1}',

  // verdicts, and what many experiments say
  'Figures, not judged.': '只给数字，不下结论。',
  'Holds.': '成立。',
  'Not seen here.': '这里没有看到。',
  'with batch norm': '有批归一化',
  without: '没有批归一化',
  'batch norm': '批归一化',
  'batch renorm': '批重归一化',
  'layer norm': '层归一化',
  'group norm': '组归一化',
  'no batch norm': '没有批归一化',
  'no norm': '不归一化',
  'group norm, {0} groups': '组归一化，{0} 组',
  'seed {0}': '随机种子 {0}',
  '{0}, seed {1}': '{0}，随机种子 {1}',
  '{0}, batches of {1}, seed {2}': '{0}，批大小 {1}，随机种子 {2}',
  'training steps': '训练步数',
  'test accuracy': '测试识别率',
  'initial scale': '初始权重的尺度',
  'learning rate': '学习率',
  rate: '学习率',
  loss: '损失',
  value: '值',
  Medians: '中位数',
  timing: '计时',
  milliseconds: '毫秒',

  // a net that diverges
  linear: '全连接',
  norm: '归一化',
  activation: '激活函数',
  'not finite': '不是有限数',
  'beyond all numbers': '大得无法表示',
  "the loss is not a finite number any more, though every layer's output is.":
    '每一层的输出都还是有限数，但损失已经不是。',
  'the output of layer {0} ({1}) is out of the range of 32-bit numbers (3.4e38), and the loss with it.':
    '第 {0} 层（{1}）的输出超出了 32 位浮点数的范围（3.4e38），损失也随之超出。',
  '{0} Steps overshot: the largest weight is now {1}; {2} of the hidden units are dead (they give one value for the whole batch).':
    '{0}步子迈得太大：现在最大的权重是 {1}；{2} 的隐藏单元已经失效（对整批数据只给出一个值）。',

  // playground
  'Train it yourself': '自己训练',
  'What happens if …?': '如果……会怎样？',
  'This net learns: it recognises more than half of the held-out digits.':
    '这个网络学得会：它能认出一半以上的测试数字。',
  training: '训练中',
  'step {0} of {1}: loss {2}, accuracy {3}': '第 {0} 步，共 {1} 步：损失 {2}，识别率 {3}',
  '784, {0} hidden layers of 100, 10; {1}, {2}, weights of {3}/√inputs, {4} steps of {5} at a rate of {6} falling to 0.':
    '784，{0} 个隐藏层各 100 个单元，10；{1}，{2}，初始权重 {3}/√输入数，{4} 步，每步 {5} 个，学习率从 {6} 降到 0。',
  'Training loss': '训练损失',
  Accuracy: '识别率',
  'Step {0}: {1} No step is taken after that; {2} of the held-out digits are recognised.':
    '第 {0} 步：{1}此后不再更新；能认出 {2} 的测试数字。',
  'After {0} steps {1} of the held-out digits are recognised.': '{0} 步之后，能认出 {1} 的测试数字。',

  // anatomy
  'One batch, step by step': '一批数据，一步一步',
  'What does batch norm do to a batch?': '批归一化对一批数据做了什么？',
  'Batch norm is arithmetic that can be done by hand.': '批归一化只是算术，用笔就能算。',
  'feature {0}': '特征 {0}',
  'The batch': '这一批',
  'Mean and variance': '均值和方差',
  Normalised: '归一化之后',
  'Scaled by {0} and shifted by {1}': '用 {0} 缩放、再用 {1} 平移之后',
  'Batch norm, then tanh': '先批归一化，再 tanh',
  'tanh, then batch norm: features 0 and 2 were saturated before they were normalised':
    '先 tanh，再批归一化：特征 0 和 2 在归一化之前就已饱和',
  'Four samples of three features; eps 1e-5. By hand: mean, variance (divided by 4), (x − mean)/√(variance + eps), times gamma, plus beta.':
    '四个样本，三个特征；eps 为 1e-5。用笔算：求均值和方差（除以 4），(x − 均值)/√(方差 + eps)，乘以 gamma，加上 beta。',
  'All {0} values agree with those worked out by hand within {1}.': '全部 {0} 个值与用笔算出的相差不超过 {1}。',

  // undo
  'Undoing it': '还原',
  'Does batch norm take away what a layer can represent?': '批归一化会削弱一层的表达能力吗？',
  'Gamma and beta can undo batch norm, so nothing is lost.': 'gamma 和 beta 可以还原批归一化，所以什么也没有损失。',
  '{0} samples of {1} features with means from −3 to 3 and deviations from 0.5 to 2. Once with gamma = √(variance + eps) and beta = mean; once learned from 1 and 0 by {2} steps of gradient descent (rate 0.2) on the squared distance from the input.':
    '{0} 个样本，{1} 个特征，均值从 −3 到 3，标准差从 0.5 到 2。一次直接取 gamma = √(方差 + eps)、beta = 均值；一次从 1 和 0 出发，用 {2} 步梯度下降（学习率 0.2）缩小与输入之间距离的平方。',
  'Root mean square distance from the input': '与输入的均方根距离',
  'learned from gamma 1, beta 0': '从 gamma = 1、beta = 0 学起',
  'power of ten': '10 的幂次',
  'With gamma = √(variance + eps) and beta = mean the input comes back within {0} of its largest value; learned from 1 and 0 within {1}.':
    '取 gamma = √(方差 + eps)、beta = 均值，输入就原样返回，误差不超过最大值的 {0}；从 1 和 0 学起，误差为 {1}。',

  // saturation
  Saturation: '饱和',
  'What happens to activations and gradients in a deep tanh net?': '在很深的 tanh 网络里，激活值和梯度会怎样？',
  'Batch norm keeps deep tanh layers out of saturation, and their gradients from vanishing.':
    '批归一化使深处的 tanh 层不饱和，梯度不消失。',
  '{0} hidden layers of 64 tanh units, weights of {1} times 1/√inputs, one batch of {2} digits forward and backward, no training.':
    '{0} 个隐藏层，各 64 个 tanh 单元；初始权重为 1/√输入数 的 {1} 倍；一批 {2} 个数字，前向、反向各一次，不训练。',
  'Values beyond ±0.97 in the last hidden layer': '最后一个隐藏层中落在 ±0.97 之外的值',
  'share of values': '占全部值的比例',
  'Gradient at the first hidden layer over that at the last (powers of ten)':
    '第一个隐藏层的梯度与最后一个的之比（10 的幂）',
  'log10 of the ratio': '比值的 log10',
  'Values beyond ±0.97 layer by layer, scale {0}': '各层落在 ±0.97 之外的值，尺度 {0}',
  'hidden layer': '隐藏层',
  'Gradient norm layer by layer, scale {0} (powers of ten)': '各层梯度的范数，尺度 {0}（10 的幂）',
  'log10 of the norm': '范数的 log10',
  'Activations of the last hidden layer, scale {0}': '最后一个隐藏层的激活值，尺度 {0}',
  "At a scale of {0}, {1} of the last layer's values are saturated without batch norm, and never more than {2} with it; at {3} the gradient at the first layer is {4} of that at the last without it, and {5} of it with it.":
    '尺度为 {0} 时，没有批归一化，最后一层有 {1} 的值饱和；有批归一化，任何尺度下都不超过 {2}。尺度为 {3} 时，第一层的梯度是最后一层的 {4} 倍（没有批归一化）和 {5} 倍（有批归一化）。',

  // shift
  'Shifting inputs': '漂移的输入',
  'Do the inputs of hidden layers move while the layers before them learn?': '前面的层在学习时，隐藏层的输入会漂移吗？',
  'With batch norm the inputs of hidden layers move less.': '有批归一化时，隐藏层的输入漂移得更少。',
  'What one unit of each hidden layer hands on, {0} (mean; band: a deviation either way)':
    '每个隐藏层中一个单元的输出，{0}（均值；色带：上下各一个标准差）',
  'layer {0}': '第 {0} 层',
  "784-64-64-64-64-10, tanh, weights of 1.5/√inputs, {0} steps of 60 at a rate of {1} falling to 0; at {2} points {3} held-out digits are run through: how far the mean of each hidden unit's input has moved since the point before, in units of its layer's deviation, and how much the gradient changes along its own direction.":
    '784-64-64-64-64-10，tanh，初始权重 1.5/√输入数，{0} 步，每步 60 个，学习率从 {1} 降到 0；在 {2} 个观察点用 {3} 个测试数字测量：从上一个观察点起，每个隐藏单元输入的均值移动了多少（以该层的标准差为单位），以及梯度沿自身方向变化了多少。',
  'Shift of hidden inputs between two points': '隐藏层输入在两个观察点之间的移动',
  deviations: '标准差的倍数',
  'Change of the gradient along its own direction': '梯度沿自身方向的变化',
  'share of the gradient': '与梯度之比',
  'Hidden inputs move by {0} deviations from point to point with batch norm and by {1} without; along its own direction the gradient changes by {2} of itself with it and by {3} without. That less shift is why batch norm helps is disputed: Santurkar et al. (2018) hold that a smoother loss is.':
    '两个观察点之间，隐藏层的输入在有批归一化时移动 {0} 个标准差，没有时移动 {1} 个；梯度沿自身方向的变化，有批归一化时是自身的 {2}，没有时是 {3}。漂移减少是不是批归一化有效的原因，尚有争议：Santurkar 等人（2018）认为原因是损失函数更平滑。',

  'At a rate of {0} a net does not learn ({1}): its loss ends no lower than chance, and how its inputs move says nothing.':
    '学习率为 {0} 时有网络学不会（{1}）：最后的损失不低于瞎猜，输入怎样漂移说明不了什么。',

  // initialisation
  Initialisation: '初始化',
  'How much does it matter how the weights begin?': '初始权重有多重要？',
  'With batch norm the scale of the initial weights matters less.': '有批归一化时，初始权重的尺度不那么重要。',
  '{0}, scale {1}, seed {2}': '{0}，尺度 {1}，随机种子 {2}',
  '784, {0} hidden layers of 64, 10; {1}, weights of {2} times 1/√inputs, {3} steps of {4} at a rate of {5}.':
    '784，{0} 个隐藏层各 64 个单元，10；{1}，初始权重为 1/√输入数 的 {2} 倍，{3} 步，每步 {4} 个，学习率 {5}。',
  'Training loss at the end': '最后的训练损失',
  'loss (10: that or more)': '损失（上限 10）',
  'Over scales of 0.01 to 10 the loss after {0} steps differs by {1} with batch norm and by {2} without.':
    '尺度从 0.01 到 10，{0} 步之后的损失，有批归一化时相差 {1}，没有时相差 {2}。',

  'At a rate of {0} the loss after {1} steps is {2} or more at every scale ({3}): there is nothing to compare.':
    '学习率为 {0} 时，{1} 步之后的损失在任何尺度下都是 {2} 或更大（{3}）：无从比较。',

  // learning-rate
  'Learning rate': '学习率',
  'Does batch norm allow higher learning rates?': '批归一化允许更大的学习率吗？',
  'Batch norm allows higher learning rates.': '批归一化允许更大的学习率。',
  '{0}, rate {1}, seed {2}': '{0}，学习率 {1}，随机种子 {2}',
  'at rates of {0} (at best in {1} steps)': '学习率为 {0}（最快 {1} 步）',
  'at no rate that was tried': '试过的学习率都达不到',
  '784, {0} hidden layers of 64, 10; {1}, weights of {2}/√inputs, batches of {3}; steps until 90 % of 500 held-out digits are recognised, {4} at most; where the loss stops being finite, or that is never reached, {5}.':
    '784，{0} 个隐藏层各 64 个单元，10；{1}，初始权重 {2}/√输入数，批大小 {3}；认出 500 个测试数字中的 90 % 所需的步数，最多 {4} 步；损失不再是有限数，或始终达不到时，记为 {5} 步。',
  'Steps to nine of ten held-out digits': '认出九成测试数字所需的步数',
  'steps ({0}: never)': '步数（{0} 表示达不到）',
  'Loss at the end (medians)': '最后的损失（中位数）',
  diverged: '发散',
  'With batch norm nine of ten are reached {0}; without {1}{2}.': '认出九成数字：有批归一化时，{0}；没有时，{1}{2}。',
  '; without it the loss stopped being finite at {0}': '；没有时，以下学习率使损失不再是有限数：{0}',

  // depth
  'without, He initialisation': '没有批归一化，He 初始化',
  "without, PyTorch's initialisation": '没有批归一化，PyTorch 的初始化',
  Depth: '深度',
  'How deep may a plain convnet be?': '普通卷积网络可以有多深？',
  'Batch norm lets plain convnets be deeper.': '有批归一化，普通卷积网络可以更深。',
  '{0} layers {1}, seed {2}': '{0} 层，{1}，随机种子 {2}',
  'learn up to {0} layers ({1} at {2})': '到 {0} 层还学得会（{2} 层时识别率为 {1}）',
  'do not learn': '学不会',
  '{0} convolutions of 3×3 and {1} channels with ReLU, one behind the other, on digits of 14×14; {2} seen in batches of {3}, momentum 0.9, learning rate {4} falling to 0.':
    '{0} 个 3×3 卷积依次相连，各 {1} 个通道，后接 ReLU；数字缩小为 14×14；看 {2} 个数字，批大小 {3}，动量 0.9，学习率从 {4} 降到 0。',
  convolutions: '卷积层数',
  "Nets with batch norm {0}, without it and with He's initialisation {1}, with PyTorch's {2}; fewer than {3} count as not learning. Width and learning rate were tuned on these digits.":
    '有批归一化的网络{0}；没有批归一化、用 He 初始化的{1}；用 PyTorch 默认初始化的{2}。识别率低于 {3} 算作学不会。宽度和学习率是在这些数字上调好的。',

  // speed
  Speed: '速度',
  'Does batch norm make training faster, counted in steps?': '按步数算，批归一化能使训练更快吗？',
  'Batch norm saves training steps.': '批归一化节省训练步数。',
  'timing, seed {0}': '计时，随机种子 {0}',
  ' A step takes {0} times as long with batch norm (median; the middle half of {1} rounds in turns).':
    '有批归一化时，每一步的时间是没有时的 {0} 倍（中位数；括号里是交替测量 {1} 轮的中间一半）。',
  'With batch norm {0} steps reach the {1} that {2} steps without it end with: 1/{3} of the steps.':
    '没有批归一化时，{2} 步之后的识别率为 {1}；有批归一化时，{0} 步就达到：步数是原来的 1/{3}。',
  'With batch norm {0} steps end at {1}, without it at {2}: no step is saved.':
    '{0} 步之后的识别率，有批归一化时为 {1}，没有时为 {2}：没有省下步数。',
  'Without batch norm {0} steps end at {1}: that net has learned nothing to compare steps with (with batch norm {2}).':
    '没有批归一化时，{0} 步之后的识别率为 {1}：这个网络什么也没学到，步数无从比较（有批归一化时为 {2}）。',
  '784, {0} hidden layers of 64, 10; {1}, weights of {2}/√inputs, {3} steps of {4} at a rate of {5} falling to 0. Times of steps are taken afterwards, of both nets in turns.':
    '784，{0} 个隐藏层各 64 个单元，10；{1}，初始权重 {2}/√输入数，{3} 步，每步 {4} 个，学习率从 {5} 降到 0。之后再测每一步的时间，两个网络交替进行。',
  'Accuracy over steps': '识别率随步数的变化',
  'Milliseconds a step (median; the middle half of the rounds)': '每步的毫秒数（中位数；各轮的中间一半）',

  // regularisation
  'A little noise': '一点噪声',
  'Does batch norm regularise?': '批归一化有正则化作用吗？',
  'Batch norm narrows the gap between training and test accuracy.': '批归一化缩小训练与测试识别率之间的差距。',
  'batches of {0}, seed {1}': '批大小 {0}，随机种子 {1}',
  '{0}, {1} digits, seed {2}': '{0}，{1} 个数字，随机种子 {2}',
  'One digit in {0} batches of 2 to 128 others, through an untrained net with one hidden layer of 64 tanh units and batch norm: deviation of its outputs over the batches. And 784, {1} hidden layers of 64, 10; {2}, trained on {3} digits for {4} steps of 60 at a rate of {5} falling to 0.':
    '把同一个数字放进 {0} 批数据里，批大小从 2 到 128，通过一个未训练的网络（一个隐藏层，64 个 tanh 单元，有批归一化）：求它的输出在各批之间的标准差。另外：784，{1} 个隐藏层各 64 个单元，10；{2}，用 {3} 个数字训练 {4} 步，每步 60 个，学习率从 {5} 降到 0。',
  "Deviation of one digit's outputs over its batches": '同一个数字的输出在各批之间的标准差',
  measured: '测得',
  'with 1/√batch': '与 1/√批大小 成正比',
  'samples in a batch': '每批样本数',
  deviation: '标准差',
  'Trained on {0} digits (medians)': '用 {0} 个数字训练（中位数）',
  'training accuracy less test accuracy': '训练识别率减测试识别率',
  "On {0} digits the gap between training and test accuracy is {1} with batch norm and {2} without. The noise that is said to narrow it is there: one digit's output wavers with its batch mates, by (batch size) to the power of {3} (1/√batch is −0.50).":
    '用 {0} 个数字训练时，训练与测试识别率的差距，有批归一化时为 {1}，没有时为 {2}。据说能缩小差距的噪声确实存在：同一个数字的输出随同批的其他样本而波动，与批大小的 {3} 次方成正比（1/√批大小 是 −0.50 次方）。',

  // train-and-eval
  cumulative: '累积平均',
  population: '总体',
  'Training and evaluation': '训练与推理',
  'Which mean and variance should evaluation use?': '推理时该用哪个均值和方差？',
  'Statistics of the population are exact, and running averages are not.': '总体统计量是准确的，滑动平均不是。',
  '784-{0}-{1}-10, tanh, {2} steps of 60, learning rate 0.2 falling to 0; the same nets with running statistics of four kinds, and with those of the population (2,000 training digits in batches of 200) in their place. The truth is worked out in f64 for the first hidden layer.':
    '784-{0}-{1}-10，tanh，{2} 步，每步 60 个，学习率从 0.2 降到 0；同样的网络，用四种滑动统计量，或用总体统计量（2,000 个训练数字，每批 200 个）代替。真值用 f64 对第一个隐藏层求出。',
  "Largest error of the first layer's running mean, in deviations of its channel (powers of ten)":
    '第一层滑动均值的最大误差，以该通道的标准差为单位（10 的幂）',
  'median of the seeds': '各随机种子的中位数',
  'momentum of the running statistics, or what stands for them': '滑动统计量的动量，或代替它的做法',
  'log10 of the error': '误差的 log10',
  momentum: '动量',
  'error of the mean': '均值的误差',
  'The running mean is off by up to {0} deviations with momentum 0.5, {1} with 0.1, {2} with 0.01 and {3} as a cumulative average; statistics of the population agree with the f64 truth within {4}.':
    '滑动均值最多偏：动量 0.5 时 {0} 个标准差，0.1 时 {1} 个，0.01 时 {2} 个，累积平均时 {3} 个；总体统计量与 f64 真值相差不超过 {4}。',

  // small-batches
  'ghost batch norm, {0} at a time': '幽灵批归一化，每 {0} 个一组',
  'Small batches': '小批量',
  'How small may a batch be?': '批可以有多小？',
  'Batch norm suffers from small batches; group norm does not.': '批归一化怕小批量，组归一化不怕。',
  '784-{0}-{1}-10, tanh; {2} digits seen in batches of every size, learning rate 0.02·√batch falling to 0; ghost batch norm is batch norm from 8 down.':
    '784-{0}-{1}-10，tanh；每种批大小都看 {2} 个数字，学习率从 0.02·√批大小 降到 0；批大小不超过 8 时，幽灵批归一化就是批归一化。',
  'From batches of 64 to batches of 2 batch norm goes from {0}, batch renorm from {1}, group norm from {2}.':
    '批大小从 64 降到 2，识别率的变化：批归一化从 {0}，批重归一化从 {1}，组归一化从 {2}。',

  // resnet-batches
  'Batch norm in a ResNet': 'ResNet 里的批归一化',
  'From which batch size down does a ResNet suffer?': '批小到多少，ResNet 就会变差？',
  'In a small ResNet batch norm suffers from small batches.': '在小 ResNet 里，批归一化怕小批量。',
  '{0} from {1} to {2}': '{0}从 {1} 到 {2}',
  'ResNet-8 of {0}, {1} and {2} channels on digits of 14×14; {3} seen in batches of every size, momentum 0.9, learning rate {4}·batch/32 falling to 0; group norm with 4 channels in a group.':
    'ResNet-8，{0}、{1}、{2} 个通道，数字缩小为 14×14；每种批大小都看 {3} 个数字，动量 0.9，学习率从 {4}·批大小/32 降到 0；组归一化每组 4 个通道。',
  'images in a batch': '每批图像数',
  'Errors of ResNet-50 on ImageNet (Wu & He 2018, table 2; not reproduced here)':
    'ResNet-50 在 ImageNet 上的错误率（Wu 与 He 2018，表 2；这里没有复现）',
  'From batches of {0}, its best, to batches of 2 goes {1}, {2}, {3} (differences below {4} count as noise). Width and learning rate were tuned on these digits. On ImageNet Wu & He (2018) report errors of {5} % at 32 and {6} % at 2 for batch norm, {7} % and {8} % for group norm.':
    '批大小从最好的 {0} 降到 2，识别率的变化：{1}，{2}，{3}（相差不到 {4} 算作噪声）。宽度和学习率是在这些数字上调好的。在 ImageNet 上，Wu 与 He（2018）报告的错误率：批归一化在批大小为 32 时 {5} %，为 2 时 {6} %；组归一化 {7} % 和 {8} %。',

  // one-at-a-time
  'batch norm, which gives beta': '批归一化，只给出 beta',
  'batch norm that learns online': '在线学习统计量的批归一化',
  'One at a time': '一次一个',
  'What if samples come one by one?': '样本一个一个来，会怎样？',
  'On batches of one plain batch norm learns nothing, and norms without a batch do.':
    '批大小为 1 时，普通的批归一化什么也学不到，不依赖批的归一化学得到。',
  '784-{0}-{1}-10, tanh, {2} digits one by one, learning rate 0.02 falling to 0. A batch of one has no variance: batch norm gives beta, whatever came in.':
    '784-{0}-{1}-10，tanh，逐个训练 {2} 个数字，学习率从 0.02 降到 0。只有一个样本就没有方差：不管输入什么，批归一化给出的都是 beta。',
  'Accuracy over digits seen one by one': '识别率随逐个看过的数字的变化',
  'digits seen': '看过的数字',
  'exactly beta': '正好是 beta',
  'something other than beta': '不是 beta',
  'A batch of one gives {0}, and a net of such layers ends at {1} (a tenth is chance); batch norm that learns online ends at {2}, layer norm at {3}, group norm at {4}.':
    '批大小为 1 时，批归一化给出的{0}，由它组成的网络最后的识别率为 {1}（瞎猜也有一成）；在线学习统计量的批归一化为 {2}，层归一化为 {3}，组归一化为 {4}。',

  // sequences
  'Sequences of unequal length': '不等长的序列',
  'Does each time step need statistics of its own?': '每个时间步需要自己的统计量吗？',
  'In an LSTM each time step needs statistics of its own.': '在 LSTM 里，每个时间步需要自己的统计量。',
  'LSTM {0}, seed {1}': 'LSTM，{0}，随机种子 {1}',
  'The rows of a digit from the first with ink to the last, {0} pixels a step; LSTM with {1} hidden units, momentum 0.9, learning rate {2} falling to 0, {3} steps of {4}; the two with batch norm are the same nets, evaluated in two ways; {5} held-out digits.':
    '逐行读数字，从第一行有墨迹的到最后一行，每个时间步 {0} 个像素；LSTM 有 {1} 个隐藏单元，动量 0.9，学习率从 {2} 降到 0，训练 {3} 步，每步 {4} 个；两个有批归一化的是同一个网络，用两种方式推理；{5} 个测试数字。',
  'batch norm, statistics for each step': '批归一化，每步各有统计量',
  'batch norm, shared statistics': '批归一化，各步共用统计量',
  'After {0} steps the LSTM reads {1} of the held-out digits with statistics for each time step, {2} with statistics that all steps share, and {3} without batch norm.':
    '{0} 步之后，LSTM 认出的测试数字：每个时间步各有统计量时 {1}，各步共用时 {2}，没有批归一化时 {3}。',

  // dropout
  'dropout before batch norm': 'dropout 在批归一化之前',
  'dropout behind the last batch norm': 'dropout 在最后一个批归一化之后',
  'no dropout': '不用 dropout',
  'Dropout before batch norm': '批归一化之前的 dropout',
  'What does dropout before batch norm do to its statistics?': '放在批归一化之前的 dropout，对它的统计量有什么影响？',
  'Dropout before batch norm spoils its statistics; behind the last one it does not.':
    '放在批归一化之前的 dropout 会破坏它的统计量；放在最后一个之后则不会。',
  '784-{0}-{1}-{2}-10, tanh, dropout {3} between each linear layer and its batch norm, or before the last layer; {4} steps of 60; recalibrated on 2,000 training digits.':
    '784-{0}-{1}-{2}-10，tanh，dropout {3} 放在每个全连接层与它的批归一化之间，或放在最后一层之前；{4} 步，每步 60 个；用 2,000 个训练数字重新校准。',
  'the same, recalibrated': '同上，重新校准',
  'test loss (cross entropy)': '测试损失（交叉熵）',
  'Dropout of values around 0 makes their variance in training {0} times that of evaluation (1/keep = {1}), in this net {2} times; with dropout before batch norm it ends with a test loss of {3}; recalibrated with dropout off {4}, with dropout behind the last batch norm {5}, without dropout {6}.':
    'dropout 使围绕 0 分布的值在训练时的方差是推理时的 {0} 倍（1/keep = {1}），在这个网络中是 {2} 倍；dropout 在批归一化之前，最后的测试损失是 {3}；关掉 dropout 重新校准后是 {4}，dropout 在最后一个批归一化之后是 {5}，不用 dropout 是 {6}。',

  // poison
  'One poisoned batch': '一批坏数据',
  'What does one bad batch do to the running statistics?': '一批坏数据对滑动统计量有什么影响？',
  'One batch with a value that is not a number ruins running statistics that take everything in.':
    '只要一批里有一个值不是数，来者不拒的滑动统计量就永远作废。',
  '784-{0}-{1}-10, tanh, {2} steps of 60, learning rate 0.2 falling to 0; one pixel of one batch is not a number; no step is taken whose loss is not finite.':
    '784-{0}-{1}-10，tanh，{2} 步，每步 60 个，学习率从 0.2 降到 0；其中一批有一个像素不是数；损失不是有限数的那一步不更新。',
  "After one batch with a pixel that is not a number (step {0} of {1}) a net whose statistics take everything in ends at {2}, with 'skip-update' at {3}, with 'throw' at {4}; each counted {5} such batch.":
    "有一批的一个像素不是数（第 {0} 步，共 {1} 步）：统计量来者不拒的网络最后的识别率为 {2}，用 'skip-update' 时为 {3}，用 'throw' 时为 {4}；每个网络都记下了 {5} 批这样的数据。",

  // inference-cost
  'Cost at inference': '推理的代价',
  'What does batch norm cost once a net is trained?': '训练完成之后，批归一化要花多少时间？',
  'Compiled into the layer before it, batch norm costs nothing.': '编译进前面的层，批归一化就不花时间。',
  'compiled, without batch norm': '编译，没有批归一化',
  'compiled, with batch norm': '编译，有批归一化',
  'layer by layer, with batch norm': '逐层运行，有批归一化',
  'plain loops, with batch norm': '普通循环，有批归一化',
  'round {0}': '第 {0} 轮',
  '784-{0}-{1}-{2}-10, tanh, batches of 64; with batch norm as it is, with batch norm compiled into the linear layers, without batch norm compiled, and with batch norm as plain loops; {3} rounds in turns, ratios round by round.':
    '784-{0}-{1}-{2}-10，tanh，批大小 64。四种做法：有批归一化，逐层运行；有批归一化，编译进全连接层；没有批归一化，编译；有批归一化，写成普通循环。交替测量 {3} 轮，逐轮求比值。',
  'A batch of 64 (medians)': '一批 64 个（中位数）',
  'images per second': '每秒图像数',
  'Compiled, a net with batch norm takes {0} times as long as one without; layer by layer it takes {1} times as long as compiled, and as plain loops {2} times (median; the middle half of the rounds); all give the same within {3}.':
    '编译之后，有批归一化的网络所用的时间是没有的 {0} 倍；逐层运行是编译的 {1} 倍，普通循环是 {2} 倍（中位数；括号里是各轮的中间一半）；结果之间相差不超过 {3}。',

  // the page: inputs and links
  '{0} {1}': '{0} {1}',
  '{0}: {1}': '{0}：{1}',
  '{0} ({1})': '{0}（{1}）',
  'hidden layers': '隐藏层数',
  'batch size': '批大小',
  'times the gradient': '乘以梯度',
  'times 1/√inputs': '乘以 1/√输入数',
  layers: '层',
  digits: '个数字',
  tanh: 'tanh',
  sigmoid: 'sigmoid',
  ReLU: 'ReLU',
  nothing: '空',
  '{0}; {1} to {2}, default {3}': '{0}；{1} 到 {2}，默认 {3}',
  '{0} expected a whole number from {1} to {2} with batch norm, got {3}':
    '有批归一化时，{0}应为 {1} 到 {2} 的整数，得到的是 {3}',
  '{0} expected a whole number from {1} to {2}, got {3}': '{0}应为 {1} 到 {2} 的整数，得到的是 {3}',
  '{0} expected a number from {1} to {2}, got {3}': '{0}应为 {1} 到 {2} 的数，得到的是 {3}',
  '{0} expected one of {1}, got {2}': '{0}应为以下之一：{1}；得到的是 {2}',
  'The link sets {0}, which is no setting here.': '链接设置了 {0}，这里没有这个参数。',
  'The link cannot be followed: {0}.': '无法打开这个链接：{0}。',
  'The link names {0}, and there is no such experiment.': '链接指向 {0}，没有这个实验。',

  // the page: frame
  'Batch norm, run and seen': '批归一化：跑一遍就明白',
  'Without JavaScript the results below can be read, and nothing runs.':
    '没有 JavaScript 时，下面的结果可以看，但什么也不能运行。',
  Experiments: '实验',
  'What is said of batch normalization, tried on real digits. Each card opens in place. Its result was worked out beforehand, in whole runs; each experiment also runs here, with one seed, fewer digits and mostly fewer steps, and says what was done.':
    '关于批归一化的种种说法，用真实的手写数字来验证。卡片点开就能看。上面的结果是事先完整运行得到的；每个实验也可以在这里现场运行，只用一个随机种子，数字更少，步数多半也更少，并说明做了什么。',
  'Seeds {0}, medians.{1} Whole run of evenkeel {2} ({3}) on Node {4}, {5}, {6}.':
    '随机种子 {0}，取中位数。{1}完整运行：evenkeel {2}（{3}），Node {4}，{5}，{6}。',
  ' Of {0} further seeds it held for {1}.': '另外 {0} 个随机种子中有 {1} 个成立。',
  'Not run yet.': '还没有运行。',
  Run: '运行',
  'Run: {0}': '运行：{0}',
  Pause: '暂停',
  'Go on': '继续',
  Reset: '重置',
  'draw the run before, if its settings differ': '设置不同时，同时画出上一次运行',
  'Link to these settings': '这组设置的链接',
  'As a table': '以表格显示',

  // the page: two nets at once
  'Two nets at once': '两个网络同时训练',
  'Two nets learn to read handwritten digits, here and now. They differ in batch norm alone.':
    '两个网络正在这里现场学认手写数字，唯一的区别是批归一化。',
  'Train again': '重新训练',
  'Try:': '试试：',
  defaults: '默认值',
  'deep net': '深层网络',
  'large initial weights': '很大的初始权重',
  'high learning rate': '很大的学习率',
  'batches of two, one layer': '批大小为 2，一层',
  'no value that is a number': '没有一个值是数',
  '784 pixels, hidden layers of 64 sigmoid units, 10 classes; gradient descent with a steady learning rate. Both nets begin with the same weights and see the same batches.':
    '784 个像素，每个隐藏层 64 个 sigmoid 单元，10 个类别；梯度下降，学习率不变。两个网络的初始权重相同，看到的每一批也相同。',
  'With batch norm': '有批归一化',
  'Without batch norm': '没有批归一化',
  'Two nets of the same layers, {0} of them hidden, learn from the same digits; one has batch norm.':
    '两个网络的层相同（{0} 个隐藏层），学的数字也相同；只有一个有批归一化。',
  '{0} the net stopped at step {1}: {2}': '{0}的网络在第 {1} 步停了：{2}',
  'Both nets stopped. {0} {1}': '两个网络都停了。{0}{1}',
  '{0} With it {1} of the held-out digits are recognised after {2} steps.':
    '{0}有批归一化的网络认出 {1} 的测试数字（{2} 步之后）。',
  '{0} Without it {1} of the held-out digits are recognised after {2} steps.':
    '{0}没有批归一化的网络认出 {1} 的测试数字（{2} 步之后）。',
  'After {0} steps both nets are dead: with batch norm {1} of the hidden units give one value for the whole batch, without it {2}; no digit looks different from another, and {3} and {4} are recognised.':
    '{0} 步之后，两个网络都已失效：有批归一化时 {1} 的隐藏单元对整批数据只给出一个值，没有时 {2}；数字之间看不出区别，分别认出 {3} 和 {4}。',
  '{0} {1} of the hidden units are dead after {2} steps: they give one value for the whole batch, so no digit looks different from another. That net recognises {3} of the held-out digits, the other {4}.':
    '{0}的网络有 {1} 的隐藏单元在 {2} 步之后已经失效：它们对整批数据只给出一个值，数字之间看不出区别。这个网络认出 {3} 的测试数字，另一个认出 {4}。',
  'After {0} steps neither net has begun to learn (a tenth is chance): {1} of the held-out digits are recognised with batch norm, {2} without.':
    '{0} 步之后，两个网络都还没有学到东西（瞎猜也有一成）：有批归一化时认出 {1} 的测试数字，没有时认出 {2}。',
  'After {0} steps the net with batch norm recognises {1} of the held-out digits, the net without it {2}.{3}':
    '{0} 步之后，有批归一化的网络认出 {1} 的测试数字，没有的认出 {2}。{3}',
  'After {0} steps the net without batch norm is ahead: it recognises {1} of the held-out digits, the net with it {2}.{3}':
    '{0} 步之后，没有批归一化的网络领先：它认出 {1} 的测试数字，有批归一化的认出 {2}。{3}',
  'After {0} steps both nets recognise about as many held-out digits, {1} with batch norm and {2} without; to {3} the net with it took {4} steps, the net without {5}.':
    '{0} 步之后，两个网络认出的测试数字差不多：有批归一化时 {1}，没有时 {2}；要认出 {3}，有批归一化的用了 {4} 步，没有的用了 {5} 步。',
  'After {0} steps both nets recognise about as many held-out digits: {1} with batch norm, {2} without.':
    '{0} 步之后，两个网络认出的测试数字差不多：有批归一化时 {1}，没有时 {2}。',
  ' Batch norm takes its mean and variance from {0} digits, and these waver.':
    '批归一化的均值和方差只来自 {0} 个数字，波动很大。',
  " Its last hidden layer tells digits apart: a unit's outputs spread by {0}, without batch norm by {1}.":
    '它的最后一个隐藏层能区分数字：一个单元的输出的标准差为 {0}，没有批归一化时为 {1}。',
  " Without batch norm {0} of the last hidden layer's outputs lie at the ends of the sigmoid, where its slope is almost 0; with it {1}.":
    '没有批归一化时，最后一个隐藏层有 {0} 的输出落在 sigmoid 的两端，那里的斜率几乎为 0；有批归一化时为 {1}。',
  Loss: '损失',
  'cross entropy ({0}: that or more)': '交叉熵（上限 {0}）',
  'held-out digits recognised': '认出的测试数字',
  'Last hidden layer, {0}': '最后一个隐藏层，{0}',
  'output of a unit': '单元的输出',
  'share of outputs': '占全部输出的比例',
  'share of outputs ({0}: that or more)': '占全部输出的比例（上限 {0}）',
  'One of its neurons, a dot for each digit': '其中一个神经元，一个点是一个数字',
  'linear layer': '全连接层',

  // the page: an experiment that runs
  starting: '正在启动',
  running: '正在运行',
  'no result': '没有结果',
  'It stopped: {0}': '运行停止：{0}',
  'Done. {0} {1}': '完成。{0}{1}',
  '{0} (live)': '{0}（现场运行）',
  'Live in this page: seed {0}, on {1} training digits and {2} held-out ones.':
    '在本页现场运行：随机种子 {0}，{1} 个训练数字，{2} 个测试数字。',
  'The run before, drawn thin: {0}. {1}': '上一次运行（细线）：{0}。{1}',
  'The net that trained last ({0} steps a second)': '最近训练的网络（每秒 {0} 步）',
  'loss ({0}: that or more)': '损失（上限 {0}）',
  'Outputs of its last activation': '它最后一个激活层的输出',
  outputs: '输出',
  '{0}: {1} over {2}.': '{0}：纵轴为{1}，横轴为{2}。',
  '{0}: no values.': '{0}：没有值。',
  '{0}: {1} at {2}, {3} at {4}.': '{0}：{2} 处为 {1}，{4} 处为 {3}。',
  '{0}: {1} values from {2} to {3}, mean {4}.': '{0}：{1} 个值，从 {2} 到 {3}，均值 {4}。',
  'After {0} steps {1} of the hidden units are dead: they give one value for the whole batch. {2} of the held-out digits are recognised.':
    '{0} 步之后，{1} 的隐藏单元已经失效：它们对整批数据只给出一个值。能认出 {2} 的测试数字。',
};
