"""Teaches papermill to write parameters in TypeScript, for the Galvatron kernel and for tslab."""

import json
import math

from papermill.engines import NBClientEngine
from papermill.translators import Translator, papermill_translators


class TypeScriptTranslator(Translator):
    """Parameters as `let name = value;`, which a later cell may declare again."""

    @classmethod
    def translate(cls, val):
        if isinstance(val, float) and not math.isfinite(val):
            return "NaN" if math.isnan(val) else f"{'-' if val < 0 else ''}Infinity"
        if isinstance(val, dict):
            entries = (f"{json.dumps(str(key))}: {cls.translate(one)}" for key, one in val.items())
            return "{ " + ", ".join(entries) + " }"
        if isinstance(val, (list, tuple)):
            return "[" + ", ".join(cls.translate(one) for one in val) + "]"
        return json.dumps(val, default=str)

    @classmethod
    def comment(cls, cmt_str):
        return f"// {cmt_str}"

    @classmethod
    def assign(cls, name, str_val):
        return f"let {name} = {str_val};"


class GalvatronEngine(NBClientEngine):
    """papermill's own engine, under our name: importing it registers the translator."""


papermill_translators.register("typescript", TypeScriptTranslator)
