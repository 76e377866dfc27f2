"""Trying an adapter that answers in words: question, picture, answers, files."""

WORDS = {
    "question": ("Question", "问题"),
    "question_hint": ("for example: What is a fox?", "例如：What is a fox?"),
    "ask": ("Ask", "提问"),
    "answer_settings": ("Answer settings", "回答设置"),
    "max_tokens": ("Longest answer, in tokens", "回答的最大长度（token 数）"),
    "temperature": ("Temperature", "温度"),
    "temperature_help": (
        "0: always the likeliest word. More: freer, with the same luck at every strength. 0 to 5.",
        "0：总是选最可能的词。越大越自由，各个强度使用同样的随机数。范围 0 到 5。",
    ),
    "asked_adapter": ("Which adapter answers", "由哪个适配器回答"),
    "strength_for": ("The strength counts for", "强度作用于"),
    "strength_for_help": (
        "All tokens, as in the paper: at 0 it is the language model alone, and this is what a merged model has. Image "
        "tokens only: words are read as the base reads them, so a question without a picture is answered exactly as by "
        "the base, at any strength; this cannot be merged.",
        "所有 token（论文中的做法）：强度为 0 时就是原来的语言模型，合并后的模型也是如此。仅图像 token：文字的处理与"
        "基础模型相同，因此不带图片的问题在任何强度下的回答都与基础模型完全一致；这种方式无法合并。",
    ),
    "on_all": ("All tokens", "所有 token"),
    "on_marked": ("Image tokens only", "仅图像 token"),
    "need_question": ("The question is empty; ask something.", "问题是空的；请写一个问题。"),
    "asked_picture_gone": (
        "The picture is no longer on the server; choose it again.",
        "图片已不在服务器上；请重新选择。",
    ),
    "failed_answer": ("The question could not be answered: {reason}", "无法回答这个问题：{reason}"),
    "waiting.answer_turn": ("Waiting for its turn to be answered…", "正在排队等待回答……"),
    "picture.label": ("Picture", "图片"),
    "picture.hint": (
        "Choose a picture, or drop or paste one here (PNG, JPEG, WebP)",
        "选择一张图片，也可以拖放或粘贴到这里（PNG、JPEG、WebP）",
    ),
    "picture.remove": ("Remove the picture", "移除图片"),
    "picture.loading": ("Uploading…", "正在上传……"),
    "picture.failed": (
        "The picture could not be uploaded; it may be too large, or the server is not there.",
        "图片上传失败；可能文件太大，或者无法连接服务器。",
    ),
    "picture.none": ("This is no picture.", "这不是图片。"),
    "answers.empty": (
        "After a run, ask something: the base answers first, then the adapter at several strengths, side by side.",
        "训练结束后，提一个问题：先由基础模型回答，再由适配器在多个强度下回答，并排显示。",
    ),
    "answers.asked": ("Asked:", "问题："),
    "answers.stop": ("Stop", "停止"),
    "answers.saying": ("Answering at {count} strengths…", "正在用 {count} 个强度回答……"),
    "answers.base": ("Without the adapter", "不带适配器"),
    "answers.marking": ("What to show of the words", "在文字上显示什么"),
    "answers.sure": ("Show how sure it was", "显示把握程度"),
    "answers.sure_legend": ("How likely the model found each token:", "模型给每个 token 的概率："),
    "answers.under_25": ("under 25 %", "低于 25 %"),
    "answers.under_50": ("to 50 %", "到 50 %"),
    "answers.under_75": ("to 75 %", "到 75 %"),
    "answers.under_90": ("to 90 %", "到 90 %"),
    "answers.over_90": ("above", "更高"),
    "answers.chance": ("Every token with its probability", "每个 token 及其概率"),
    "answers.least_sure": ("Least sure of {words}.", "把握最小的是 {words}。"),
    "answers.fresh": ("Mark what is new", "标出新内容"),
    "answers.fresh_sample": ("underlined", "下划线"),
    "answers.fresh_legend": (
        "is what the base did not say, token by token.",
        "表示基础模型的回答中没有的 token。",
    ),
    "answers.all": ("Answers at every strength", "各个强度的回答"),
    "answers.help": (
        "0 is the base alone, 1 the trained adapter. Arrow keys move the slider finely, Page Up and Page Down from "
        "answer to answer.",
        "0 只有基础模型，1 是训练好的适配器。方向键可微调，Page Up 和 Page Down 在已有的回答之间跳转。",
    ),
    "answers.nearest": (
        "The nearest answer there is: the one at {strength}.",
        "这里显示最接近的回答：强度 {strength} 的回答。",
    ),
    "answers.asking_exact": ("Asking for the exact one…", "正在获取准确的回答……"),
    "answers.saying_exact": ("Answering at this strength…", "正在用这个强度回答……"),
    "answers.exact_rung": ("Exact: answered at this strength.", "准确：就是用这个强度回答的。"),
    "answers.exact_now": ("Exact: answered at this strength just now.", "准确：刚刚用这个强度回答。"),
    "answers.cut": (
        "Cut after {count} tokens: it had not come to its end.",
        "在 {count} 个 token 处截断：回答还没有结束。",
    ),
    "answers.silent": ("It ended without a word.", "没有说一个字就结束了。"),
    "answers.copy": ("Copy", "复制"),
    "answers.copied": ("Copied", "已复制"),
    "answers.zero_equal": (
        "At strength 0 the answer is the base's: {compared} bytes of words and probabilities compared, none differs.",
        "强度为 0 时就是基础模型的回答：比较了文字和概率的 {compared} 个字节，没有差异。",
    ),
    "answers.zero_differs": (
        "At strength 0 the answer is not quite the base's: {different} of {compared} bytes of words and probabilities "
        "differ.",
        "强度为 0 时与基础模型的回答不完全相同：文字和概率的 {compared} 个字节中有 {different} 个不同。",
    ),
    "answers.groups_help": (
        "Multiply the strength for one group of layers: 1 as trained, 0 leaves the group out. The question is asked "
        "anew.",
        "为某一组层单独乘上一个倍数：1 为训练时的比例，0 表示不用这一组。问题会重新提问。",
    ),
    "group.attention": ("Attention (what each word looks at)", "注意力（每个词关注什么）"),
    "group.MLP": ("MLP (what the model knows)", "MLP（模型知道什么）"),
    "group.vision embedding": ("Vision embedding (how pictures are read)", "视觉嵌入（如何读取图片）"),
    "take.peft": ("Download for PEFT (zip)", "下载（PEFT 文件夹，zip）"),
    "take.diffusers": ("Download the adapter (safetensors)", "下载适配器（safetensors）"),
    "take.merged": ("Download merged model (zip)", "下载合并后的模型（zip）"),
    "merged_note": (
        "A merged model has the strength on all tokens, at 1. A strength on image tokens only cannot be merged.",
        "合并后的模型是强度 1 作用于所有 token 的结果。仅作用于图像 token 的强度无法合并。",
    ),
    "merged_too_large": (
        "A merged model is as large as its base ({size}), and this page sends at most {limit}. Write it on the server: "
        "python -m pipelines export RUN_DIR --format merged --output DIR",
        "合并后的模型与基础模型一样大（{size}），而本页面最多发送 {limit}。请在服务器上生成："
        "python -m pipelines export RUN_DIR --format merged --output DIR",
    ),
    "merged_unknown": ("of unknown size", "大小未知"),
}
