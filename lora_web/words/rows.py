"""Questions with answers to learn from, and their editor: `rows.*` are said by its page and its script, and `talks.*`
instead where rows speak of pictures."""

WORDS = {
    "rows": ("1. Questions and answers", "1. 问答"),
    "talks": ("### Questions about the pictures", "### 关于图片的问答"),
    "talks_intro": (
        "The caption of a picture is learned as the answer to “What is in the picture?” and the like. Below the "
        "pictures you can ask about them yourself: a picture with questions of its own is learned by those.",
        "图片的说明文字会作为“图里有什么？”这类问题的答案来学习。在图片下方还可以针对它们自行提问；"
        "有自己问答的图片，就按这些问答来学习。",
    ),
    "row_limits": (
        "Up to {rows} rows, {megabytes} MB a file. UTF-8 text in any language.",
        "最多 {rows} 行，每个文件不超过 {megabytes} MB。任何语言的 UTF-8 文本都可以。",
    ),
    "need_rows": (
        "There is nothing to train on yet; add questions with answers in step 1.",
        "还没有可供训练的内容；请在第 1 步添加问答。",
    ),
    "need_talks": (
        "There is nothing to train on yet; add pictures with captions or questions in step 1.",
        "还没有可供训练的内容；请在第 1 步添加带说明文字或问答的图片。",
    ),
    "no_row_found": (
        "No question with an answer was found; add JSON, JSONL or CSV files.",
        "没有找到问答；请添加 JSON、JSONL 或 CSV 文件。",
    ),
    "no_talk_found": (
        "Neither a picture nor a question with an answer was found; add pictures, or JSON, JSONL or CSV files.",
        "没有找到图片，也没有找到问答；请添加图片，或 JSON、JSONL、CSV 文件。",
    ),
    "example_rows_made_way": (
        "The example made way for your rows; Undo brings it back.",
        "示例已让位给你的内容；点“撤销”可以找回。",
    ),
    "rows_here_already": (
        "Rows that are here already, word for word, and stay as they are: {count}.",
        "已经存在、内容完全相同的行（保持不变）：{count} 行。",
    ),
    "row_gone": (
        "This row is no longer there: it was deleted on another page, or with its picture.",
        "这一行已经不在了：它在别的页面被删除，或随图片一起删除了。",
    ),
    "row_picture_gone": (
        "Row {row} speaks of a picture that was taken out; bring the picture back first.",
        "第 {row} 行谈到的图片已被取出；请先找回图片。",
    ),
    "row_twice": (
        "Row {row} says word for word what row {other} says; change one of them, or delete it.",
        "第 {row} 行与第 {other} 行的内容完全相同；请修改或删除其中一行。",
    ),
    "row_turns": (
        "Row {row} has the turns {value}, must be questions and answers by turns, at most 200 in all.",
        "第 {row} 行的对话是 {value}，必须是一问一答，总共最多 200 条。",
    ),
    "row_no_question": (
        "Row {row} has a question without words; write it, or delete the row.",
        "第 {row} 行有一个问题是空的；请写上，或删除这一行。",
    ),
    "row_no_answer": (
        "Row {row} has an answer without words; write it, or delete the row.",
        "第 {row} 行有一个回答是空的；请写上，或删除这一行。",
    ),
    "row_too_long": (
        "Row {row} has a text of more than {most} characters; shorten it.",
        "第 {row} 行有一段文字超过 {most} 个字符；请缩短。",
    ),
    "row_refused": ("Row {row} {reason}; change it back.", "第 {row} 行无法采用（{reason}）；请改回来。"),
    "rows.none": (
        "No rows yet. Add files, write one yourself, or use the example: 144 short answers that all begin “In plain "
        "words”.",
        "还没有内容。可以添加文件、自己写，或使用示例：144 条简短回答，都以“In plain words”开头。",
    ),
    "rows.one": ("1 row ready. 50 or more teach a manner of answering.", "1 行已就绪。50 行以上才能教会一种回答方式。"),
    "rows.count": ("{count} rows ready.", "{count} 行已就绪。"),
    "rows.example": ("Use the example", "使用示例"),
    "rows.write": ("Write a row", "写一行"),
    "rows.clear": ("Start over", "重新开始"),
    "rows.remove_found": ("Delete the {count} found", "删除找到的 {count} 行"),
    "rows.drop": (
        "Or drop files here: JSON, JSONL or CSV in the form of Alpaca (instruction, input, output), ShareGPT, OpenAI "
        "messages or plain pairs, or a zip file of those.",
        "也可以把文件拖放到这里：JSON、JSONL 或 CSV（Alpaca 的 instruction/input/output、ShareGPT、OpenAI messages，"
        "或简单的问答对），或者它们的 zip 文件。",
    ),
    "rows.reading_example": ("Reading the example…", "正在读取示例…"),
    "rows.importing": ("Adding rows", "正在添加"),
    "rows.more_lines": ("Show {count} more", "再显示 {count} 条"),
    "rows.search": ("Search", "搜索"),
    "rows.found": ("{count} found", "找到 {count} 行"),
    "rows.list": ("Questions and answers", "问答列表"),
    "rows.pages": ("Pages", "翻页"),
    "rows.before": ("Previous page", "上一页"),
    "rows.next": ("Next page", "下一页"),
    "rows.page": ("Page", "第"),
    "rows.of_pages": ("of {pages}", "页，共 {pages} 页"),
    "rows.user": ("Question", "问"),
    "rows.assistant": ("Answer", "答"),
    "rows.system": ("System", "系统"),
    "rows.user_of": ("Question of row {row}", "第 {row} 行的问题"),
    "rows.assistant_of": ("Answer of row {row}", "第 {row} 行的回答"),
    "rows.system_of": ("System text of row {row}", "第 {row} 行的系统提示"),
    "rows.new_row": ("new", "新增"),
    "rows.follow_up": ("Follow up", "追问"),
    "rows.follow_up_of": ("Follow up: add a question and its answer to row {row}", "追问：给第 {row} 行加一问一答"),
    "rows.take_back": ("Take back", "收回"),
    "rows.delete": ("Delete", "删除"),
    "rows.delete_of": ("Delete row {row}", "删除第 {row} 行"),
    "rows.show_row": ("Show", "查看"),
    "rows.unfinished": ("A new row needs a question and an answer.", "新的一行需要一个问题和一个回答。"),
    "rows.state_unfinished": ("A new row is not complete", "新的一行还没写完"),
    "rows.state_refused": ("Some rows are not saved", "有些行没有保存"),
    "rows.save_jsonl": ("Download as JSONL (messages)", "下载为 JSONL（messages）"),
    "rows.save_alpaca": ("Download as Alpaca JSON", "下载为 Alpaca JSON"),
    "rows.keys": (
        "Keys: Ctrl+Enter goes to the next row, or begins a new one after the last; Ctrl+Z undoes.",
        "按键：Ctrl+回车跳到下一行，在最后一行则新写一行；Ctrl+Z 撤销。",
    ),
    "rows.choose": ("Which picture is it about?", "针对哪张图片？"),
    "rows.choose_none": ("Without a picture", "不用图片"),
    "rows.choose_empty": ("There are no pictures yet; add some above.", "还没有图片；请先在上面添加。"),
    "talks.none": (
        "No questions yet. Ask about a picture, or add a file of questions.",
        "还没有问答。可以针对图片提问，或添加问答文件。",
    ),
    "talks.one": ("1 question ready.", "1 条问答已就绪。"),
    "talks.count": ("{count} questions ready.", "{count} 条问答已就绪。"),
    "talks.write": ("Ask about a picture…", "针对图片提问…"),
    "talks.drop": (
        "Or drop files here: LLaVA’s JSON, or JSON, JSONL and CSV with a question, an answer and the name of a "
        "picture; the pictures may come along or be here already. Questions without a picture keep the model’s other "
        "knowledge alive.",
        "也可以把文件拖放到这里：LLaVA 的 JSON，或带问题、回答和图片文件名的 JSON、JSONL、CSV；"
        "图片可以一起添加，也可以是已有的。不带图片的问答有助于保住模型原有的知识。",
    ),
    "talks.save_alpaca": ("Download those without a picture as Alpaca JSON", "把不带图片的下载为 Alpaca JSON"),
}
