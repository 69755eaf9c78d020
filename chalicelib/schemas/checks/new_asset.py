"""Whether a body fits new-asset.json. Written by scripts/checks.py: change the schema instead."""

import re


REGEX_PATTERNS = {
    '^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*(?![\\s\\S])': re.compile('^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*(?![\\s\\S])'),
    '^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?![\\s\\S])': re.compile('^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?![\\s\\S])')
}


def is_valid(data):
    if not isinstance(data, (dict)):
        return False
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['url', 'type']) - data.keys()
        if data__missing_keys:
            return False
        data_keys = set(data.keys())
        if "url" in data_keys:
            data_keys.remove("url")
            data__url = data["url"]
            if not isinstance(data__url, (str)):
                return False
            if isinstance(data__url, str):
                data__url_len = len(data__url)
                if data__url_len < 1:
                    return False
                if data__url_len > 2048:
                    return False
        if "type" in data_keys:
            data_keys.remove("type")
            data__type = data["type"]
            if not isinstance(data__type, (str)):
                return False
            if not (isinstance(data__type, str) and data__type == 'VIDEO' or isinstance(data__type, str) and data__type == 'AUDIO' or isinstance(data__type, str) and data__type == 'IMAGE'):
                return False
        if "name" in data_keys:
            data_keys.remove("name")
            data__name = data["name"]
            if not isinstance(data__name, (str)):
                return False
            if isinstance(data__name, str):
                data__name_len = len(data__name)
                if data__name_len < 1:
                    return False
                if data__name_len > 255:
                    return False
                if not REGEX_PATTERNS['^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*(?![\\s\\S])'].search(data__name):
                    return False
        if "projectId" in data_keys:
            data_keys.remove("projectId")
            data__projectId = data["projectId"]
            if not isinstance(data__projectId, (str)):
                return False
            if isinstance(data__projectId, str):
                data__projectId_len = len(data__projectId)
                if data__projectId_len < 1:
                    return False
                if data__projectId_len > 255:
                    return False
                if not REGEX_PATTERNS['^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?![\\s\\S])'].search(data__projectId):
                    return False
        if data_keys:
            return False
    return True
