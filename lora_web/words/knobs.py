"""Label and help of every setting in Chinese, by dotted name. The English ones stand in the dataclasses (`knob`).

Options of a family are named `<family>:options.<name>`. tests/test_words.py fails for a setting that is missing here.
"""

from __future__ import annotations

CHINESE: dict[str, tuple[str, str]] = {
    "base": (
        "基础模型",
        "内置基础模型的名称、本地文件夹、单个 .safetensors 文件，或 Hugging Face Hub 的 id。留空则使用自带的基础模型。",
    ),
    "data.resolution": ("训练分辨率", "正方形训练图片的边长；其他比例的图片取相同面积。"),
    "data.buckets": ("按比例分组", "按长宽比给图片分组，而不是全部裁成正方形。"),
    "data.caption": ("通用说明文字", "没有自己说明文字的图片都用这一句。"),
    "data.trigger_word": ("触发词", "加在每条说明文字前面的词；写进提示词就能唤起适配器。"),
    "data.captions_from_names": ("用文件名作说明", "没有说明文字的图片取用文件名里的词。"),
    "data.flip": ("左右翻转", "同时用镜像图片训练。不适合人脸和文字。"),
    "data.validation_percent": ("验证比例", "留出多少图片不参与训练，用来测量验证损失。"),
    "adapter.variant": ("适配器类型", "更新量的参数化方式。"),
    "adapter.rank": ("秩", "更新量的宽度：越大能学得越多，文件也越大。"),
    "adapter.alpha": ("Alpha", "更新量的缩放；alpha 等于秩时不缩放。"),
    "adapter.dropout": ("随机失活", "训练时随机丢弃的适配器输入的比例。"),
    "train.steps": ("训练步数", "优化器更新的次数。"),
    "train.batch_size": ("批大小", "一批里的样本数，所有进程合计。"),
    "train.accumulation": ("梯度累积", "每一步之前累加多少批的梯度。"),
    "train.learning_rate": ("学习率", "优化器的最大步长。"),
    "train.schedule": ("学习率变化", "预热之后学习率如何下降。"),
    "train.warmup": ("预热", "学习率从零升到最大值所用的步数。"),
    "train.weight_decay": ("权重衰减", "AdamW 的权重衰减系数。"),
    "train.clip_norm": ("梯度裁剪", "超过这个长度的梯度会被缩短到它；0 表示关闭。"),
    "train.ema": ("滑动平均", "保存的不是最后的权重，而是滑动平均，这是它的衰减率；0 表示关闭。"),
    "train.seed": ("随机种子", "种子、数据、设置都相同，得到的适配器就相同。"),
    "train.precision": (
        "数值精度",
        "冻结的基础模型用的数字格式。auto：设备原生支持 bf16 时用 bf16，否则用 fp32。",
    ),
    "train.device": ("设备", "auto：有 GPU 用第一块 GPU，否则用 CPU。"),
    "train.gradient_checkpointing": ("梯度检查点", "激活值算两遍，以便少存一些：更慢，但省内存。"),
    "train.checkpoint_every": ("保存检查点间隔", "每隔多少步保存一个检查点。"),
    "train.keep_checkpoints": ("保留检查点数", "最多保留几个检查点。"),
    "train.validate_every": ("验证间隔", "每隔多少步测一次验证损失。"),
    "train.preview_every": ("预览间隔", "训练中每隔多少步画一张预览图；0 表示关闭。"),
    "train.preview_prompt": ("预览提示词", "这些预览图的提示词；留空则用第一条说明文字。"),
    "stable_diffusion:options.conv": (
        "训练卷积层",
        "UNet 的卷积层也加上适配器（LoCon）：风格学得更强，文件更大。",
    ),
    "stable_diffusion:options.text_encoder": (
        "训练文本编码器",
        "文本编码器也加上适配器：新词更容易学会，训练更慢。",
    ),
    "stable_diffusion:options.caption_dropout": (
        "丢弃说明的比例",
        "训练时不给说明文字的样本比例，供引导使用。",
    ),
    "stable_diffusion:options.min_snr": (
        "Min-SNR γ",
        "Min-SNR 的 gamma：平衡容易和困难的噪声级别；0 表示关闭。不适合零终端信噪比的基础模型。",
    ),
    "stable_diffusion:options.noise_offset": (
        "噪声偏移",
        "给噪声加一个随机的亮度偏移（适合很暗或很亮的图片）。",
    ),
    "mmdit_layout:options.scope": (
        "训练哪些层",
        "学习的部分。layout_mlp：如何读取方框；text_mlp：再加上方框的说明文字；"
        "branch：再加上每个块里方框的注意力、前馈和输出层；"
        "whole：直接训练整个分支，不用 LoRA，适合没有这一分支的基础模型。",
    ),
    "mmdit_layout:options.caption_dropout": (
        "丢弃说明的比例",
        "训练时不给说明文字的样本比例，供引导使用。",
    ),
    "mmdit_layout:options.layout_dropout": (
        "丢弃方框的比例",
        "训练时不给方框的样本比例，供引导使用。",
    ),
    "mmdit_layout:options.time_mean": (
        "噪声侧重",
        "最常训练哪种噪声：0 为中等；大于 0 偏向噪声更多，小于 0 偏向更少。",
    ),
    "mmdit_layout:options.t5": (
        "使用 T5",
        "如果基础模型带有 T5，也用它读说明文字：适合长的说明。读取时多占 10 GB 内存，8bit 为 5 GB，4bit 为 3 GB；"
        "后两种需要安装 bitsandbytes。",
    ),
    "text_llm:options.scope": (
        "训练哪些层",
        "学习发生在哪里。attention：每个词关注什么；mlp：模型知道什么；all：两者都学。",
    ),
    "text_llm:options.template": (
        "对话模板",
        "怎样区分问题和回答。chat：用基础模型自带的对话模板；human_assistant：写成“Human: …”和“Assistant: …”；"
        "auto：基础模型有模板就用 chat。",
    ),
    "text_llm:options.learn": (
        "学习内容",
        "从一段对话里学什么。answers：只学助手的回答；all：连问题一起学。",
    ),
    "text_llm:options.max_length": ("最大长度", "更长的对话会在这里截断。"),
    "text_llm:options.min_length": ("最短回答", "回答合计比这更短的对话不参与训练。"),
    "text_llm:options.packing": (
        "拼接短对话",
        "把几段对话拼进一行，彼此互不可见：多数对话很短时更快。",
    ),
    "vora:options.teacher": (
        "教师模型",
        "除了回答以外，还可以逐块向一个视觉 Transformer 学习：自带的 emoji-vit（只认得表情符号的图画）、文件夹，"
        "或 Hub 上的名称。留空：只从回答中学习。",
    ),
    "vora:options.distillation": ("教师的分量", "相对于回答，教师占多大分量。"),
    "vora:options.blocks": (
        "训练的块数",
        "从第一块算起，给多少块加适配器。0：与教师的块数相同；没有教师时为全部。",
    ),
    "vora:options.size": ("图片边长", "图片按这个边长读入：整张图放在黑色的正方形里。"),
    "vora:options.patch": ("图块边长", "每这么多像素见方变成一个词元：越小看得越细，也越慢。"),
    "vora:options.max_length": ("最大长度", "更长的对话（连同图片）会在这里截断。"),
    "vora:options.images_alone": (
        "仅图像词元的比例",
        "在这个比例的行里，适配器只在图像词元处学习起作用：这样仅用于图像词元时也好用，不带图片的文字仍与基础模型完全一样。",
    ),
    "vora:options.mixed": (
        "图文混批",
        "没有图片的对话与有图片的放在同一批里，训练更稳。关：各自成批，更快。",
    ),
    "vora:options.keep_teacher": (
        "每步询问教师",
        "每一步都重新询问教师，而不是把它对每张图片的回答存下来：更慢，但省内存。",
    ),
    "vora:options.template": (
        "对话模板",
        "怎样区分问题和回答。chat：用基础模型自带的对话模板；human_assistant：写成“Human: …”和“Assistant: …”；"
        "auto：基础模型有模板就用 chat。",
    ),
}
