"""What programs are told that call the endpoints."""

WORDS = {
    "api_no_visitor": (
        "visitor is {name}, must be a token from /hello: 32 hexadecimal digits",
        "visitor 是 {name}，应为 /hello 返回的令牌：32 位十六进制数字",
    ),
    "api_no_dataset": (
        "dataset is {name}, which is none of yours; make one with /validate_dataset",
        "dataset 是 {name}，不属于你；请先用 /validate_dataset 创建",
    ),
    "api_no_run": (
        "run is {name}, which is none of yours; start one with /start",
        "run 是 {name}，不属于你；请先用 /start 启动",
    ),
    "api_not_uploaded": (
        "files must be a list of uploaded files; wrap each path in gradio_client.handle_file",
        "files 应为已上传文件的列表；请用 gradio_client.handle_file 包装每个路径",
    ),
    "api_other_kind": (
        "This dataset was read for another kind of family, and {family} learns from {kind}; read the files again with "
        "/validate_dataset and family={family}",
        "这个数据集是为另一类模型家族读取的，而 {family} 学习的是 {kind}；"
        "请用 /validate_dataset 并加上 family={family} 重新读取文件",
    ),
    "api_answers": (
        "{family} answers in words and draws no pictures; use /answer",
        "{family} 用文字回答，不生成图片；请使用 /answer",
    ),
    "api_draws": (
        "{family} draws pictures and answers nothing; use /preview",
        "{family} 生成图片，不回答问题；请使用 /preview",
    ),
    "api_blind": (
        "picture was given, and this family sees none; leave it out",
        "提供了 picture，但这个模型家族看不到图片；请去掉它",
    ),
    "api_yes_or_no": ("{name} must be true or false", "{name} 应为 true 或 false"),
    "api_strengths": (
        "strengths must be a list of 1 to {limit} numbers",
        "strengths 应为 1 到 {limit} 个数字的列表",
    ),
    "api_preview_settings": (
        "settings must be an object with some of {names}",
        "settings 应为包含 {names} 中若干项的对象",
    ),
    "api_no_boxes": (
        "{names} are for families that read boxes, which {family} does not; leave them out",
        "{names} 只适用于能读取方框的模型家族，{family} 不能读取；请去掉这些设置",
    ),
    "api_failed": ("This could not be done: {reason}", "操作未能完成：{reason}"),
}
