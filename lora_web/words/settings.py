"""The settings of a run. `label.<field>` and `help.<field>` say in Chinese what `knob` says in English."""

WORDS = {
    "settings": ("2. Settings", "2. 设置"),
    "advanced": ("Advanced settings", "高级设置"),
    "parts.": ("Base", "基础模型"),
    "parts.data": ("Data", "数据"),
    "parts.adapter": ("Adapter", "适配器"),
    "parts.train": ("Training", "训练"),
    "parts.options": ("This family", "这一类模型"),
    "train": ("Train", "开始训练"),
    "need_pictures": (
        "There are no pictures to train on yet; add some in step 1.",
        "还没有可供训练的图片；请在第 1 步添加。",
    ),
    "base_refused": (
        "base is {base!r}; this server offers only {bases}",
        "base 是 {base!r}；这台服务器只提供 {bases}",
    ),
}
