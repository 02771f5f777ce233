from runtime.errors import BadFile


def test_an_error_is_one_line_of_what_where_and_what_to_do() -> None:
    error = BadFile("is\n  empty", where="a.safetensors", todo="download\tit again")
    assert str(error) == "a.safetensors: is empty - download it again"
    assert (error.what, error.where) == ("is\n  empty", "a.safetensors")


def test_where_and_todo_may_be_missing() -> None:
    assert str(BadFile("is empty")) == "is empty"
