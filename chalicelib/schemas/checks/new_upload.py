"""Whether a body fits new-upload.json. Written by scripts/checks.py: change the schema instead."""

import re


REGEX_PATTERNS = {
    '^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069/\\\\]+(?![\\s\\S])': re.compile('^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069/\\\\]+(?![\\s\\S])'),
    '^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?![\\s\\S])': re.compile('^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?![\\s\\S])'),
    '^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*(?![\\s\\S])': re.compile('^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]*(?![\\s\\S])'),
    '^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?![\\s\\S])': re.compile('^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?![\\s\\S])')
}


def is_valid(data):
    if not isinstance(data, (dict)):
        return False
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['fileName', 'contentType', 'size']) - data.keys()
        if data__missing_keys:
            return False
        data_keys = set(data.keys())
        if "fileName" in data_keys:
            data_keys.remove("fileName")
            data__fileName = data["fileName"]
            if not isinstance(data__fileName, (str)):
                return False
            if isinstance(data__fileName, str):
                data__fileName_len = len(data__fileName)
                if data__fileName_len < 1:
                    return False
                if data__fileName_len > 255:
                    return False
                if not REGEX_PATTERNS['^[^\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069/\\\\]+(?![\\s\\S])'].search(data__fileName):
                    return False
        if "contentType" in data_keys:
            data_keys.remove("contentType")
            data__contentType = data["contentType"]
            if not isinstance(data__contentType, (str)):
                return False
            if isinstance(data__contentType, str):
                data__contentType_len = len(data__contentType)
                if data__contentType_len > 255:
                    return False
                if not REGEX_PATTERNS['^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f\\u2028\\u2029]*(?![\\s\\S])'].search(data__contentType):
                    return False
        if "size" in data_keys:
            data_keys.remove("size")
            data__size = data["size"]
            if not isinstance(data__size, (int)) and not (isinstance(data__size, float) and data__size.is_integer()) or isinstance(data__size, bool):
                return False
            if isinstance(data__size, (int, float)) and not isinstance(data__size, bool):
                if data__size < 1:
                    return False
                if data__size > 5368709120:
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
