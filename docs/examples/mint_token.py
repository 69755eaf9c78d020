"""Make a token for a user, as your app's backend does: `python mint_token.py USER_ID`."""

import os
import sys
import time

import jwt  # PyJWT

claims = {
    "sub": sys.argv[1],  # whoever is signed in; never taken from the browser's request
    "exp": int(time.time()) + 3600,  # the browser gets a new one when this is over
    # Optional: what this user may do, within the broker's own limits.
    "upload": {"maxBytes": 500_000_000, "contentTypes": ["video/*"], "perDay": 20},
}
print(jwt.encode(claims, os.environ["JWT_SECRET"], algorithm="HS256"))
