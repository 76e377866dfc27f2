"""What is checked before a run. The English sentences are those of the library, which the command line prints too."""

from __future__ import annotations

from pipelines.preflight import FIXES, SENTENCES

_CHINESE = {
    "pictures": "{count} 张图片，每张大约会看到 {passes} 次",
    "few": "只有 {count} 张图片；10 张以上才能让适配器学到它们的共同点",
    "small": "{all} 张图片中有 {count} 张小于训练尺寸，会被放大（{names}）；请使用更大的图片",
    "twins": "{all} 张图片中有 {count} 张与另一张相同或几乎相同（{names}）；请把它们取出，否则它们的内容会被多学一遍",
    "boxless": "{all} 张图片中有 {count} 张没有方框（{names}）；这一类模型要从方框和方框的说明中学习",
    "silent": "{all} 张图片中有 {count} 张没有说明文字（{names}）；请逐张描述，或写一句通用说明",
    "long": "{count} 条说明文字超过 {limit} 个词（{names}）；后面的内容不会被读到",
    "trigger": "{all} 条说明文字中有 {count} 条会在前面加上触发词；写提示词时请用上它",
    "common_word": "每条说明文字里都有“{word}”；写提示词时请用上它",
    "no_trigger": "各条说明文字没有共同的词，也没有触发词：适配器会影响所有图片。"
    "学风格正合适；学特定对象请选一个少见的词",
    "dialogues": "{count} 段对话，每段大约会看到 {passes} 次",
    "pictures with dialogues": "{count} 段对话（有的谈图片，有的没有图片），每段大约会看到 {passes} 次",
    "asked_again": "{all} 段对话中有 {count} 段与另一段问题相同而回答不同（{names}）；模型会学到其中任意一种回答",
    "cut": "{all} 段对话中有 {count} 段很可能超过 {limit} 个词元（{names}）；后面的内容不会被读到",
    "unended": "{all} 个回答中有 {count} 个停在句子中间（{names}）；如果是被截断的，模型也会学着这样停下",
    "unspoken": "{all} 张图片中有 {count} 张既没有说明文字也没有问答（{names}）；不会从中学到任何东西",
    "even": "Alpha 是 {alpha}；这类训练应与秩相同，即 {wanted}",
    "few_dialogues": "只有 {count} 段对话；50 段以上才能教会一种回答方式",
    "alpha": "Alpha 是 {alpha}；语言模型通常取秩的两倍，即 {wanted}",
    "rank_high": "一般从 8 到 16 的秩开始；{rank} 适合基础模型很陌生的领域",
    "rank_low": "共有 {count} 行数据；超过 50,000 行时建议把秩设为 {wanted} 或更大",
    "rslora": "秩为 {rank} 时，rsLoRA 能避免更新量随秩的增大而变小",
    "no_validation": "没有留出任何数据，因此不会给出困惑度",
    "validation": "{all} 个样本中只留出 {count} 个做验证，验证损失会忽高忽低",
    "passes": "每个样本大约只会看到 {passes} 次；训练 {steps} 步可以让每个看到 {wanted} 次",
    "batch": "批大小 {batch} 超过样本总数：同一个样本会在一批里出现几次",
    "preset": "这些设置是为另一个基础模型准备的：训练尺寸是 {got} px，而这个模型画 {native} px",
    "rate": "对这样大的基础模型，学习率 {got} 偏高，画面可能会崩坏",
    "distilled": "“{word}”类模型经过蒸馏，只需几步就能出图；不宜在它上面训练 LoRA，那会让它忘掉这个本事。"
    "请在它的原始模型上训练，得到的适配器两者都能用",
    "license": "基础模型的许可证：{license}",
    "download": "这台机器上还没有这个基础模型，会先下载（{gigabytes} GB）",
    "download_unknown": "这台机器上还没有这个基础模型，会先下载",
    "disk": "磁盘剩余 {free}，训练大约需要 {needed}；请腾出一些空间",
    "memory": "内存：大约需要 {needed}，可用 {free}（{device}，{precision}）",
    "memory_tight": "训练大约需要 {needed} 内存，目前可用 {free}；请关闭其他程序，或减小批大小",
    "memory_short": "训练大约需要 {needed} 内存，而这台机器总共只有 {total}；"
    "请减小批大小、训练尺寸，或换小一些的基础模型",
    "time": "时间：在这台机器上大约 {time}（实测：{steps} 步，每步 {low} 到 {high} 秒）",
}
_CHINESE_FIXES = {
    "captions_from_names": "用文件名作说明",
    "validation": "留出 {percent} %",
    "steps": "训练 {steps} 步",
    "batch": "批大小改为 {batch}",
    "halve": "批大小减半，批数加倍",
    "checkpointing": "激活值算两遍",
    "preset": "改用适合这个模型的设置",
    "rate": "学习率改为 {rate}",
    "alpha": "Alpha 改为 {alpha}",
    "length": "最多读 {length} 个词元",
    "rank": "秩改为 {rank}",
    "rslora": "改用 rsLoRA",
}

WORDS = {
    **{f"preflight.{kind}": (SENTENCES[kind], chinese) for kind, chinese in _CHINESE.items()},
    **{f"fix.{kind}": (FIXES[kind], chinese) for kind, chinese in _CHINESE_FIXES.items()},
    "preflight": ("Before you start", "开始之前"),
    "preflight.fine": ("Everything is ready.", "一切就绪。"),
    "preflight.measuring": (
        "Two trial steps are being measured for time and memory; there is no need to wait for them.",
        "正在试跑两步来测量时间和内存；不必等它。",
    ),
    "preflight.busy": (
        "Time and memory are measured when the training that is going on has ended.",
        "等正在进行的训练结束后再测量时间和内存。",
    ),
    "preflight.error": ("This blocks the run", "会阻止训练"),
    "preflight.warning": ("Better to change", "建议修改"),
    "preflight.fact": ("Good to know", "供参考"),
}
