"""Canonical SHA-256 of each split of each data set: of its native data, see :mod:`zoo.data.fingerprint`."""

SHA256S = {
    "adult": {
        "train": "2e4274b13b5103dd307935a6e1959a771cb2a8b88e226730b48897a808d842c6",
        "test": "cb6ac6d4aabf07193bc149dff5048779706ab406521febb1128521b6cab54980",
    },
    "adult_sample": {
        "train": "45e2cc0a00c1622306fd5d4e941caebc5f87f904c49f82168531d7302753fee5",
        "test": "cb75ca5dc0cfd84eac163b3e640cf08a3af45702259b68ccf052cacf117f06b2",
    },
    "magic": {
        "train": "d9d0c3c183e0d72afa0b1fec53fe1336c2fbb5552f82e4d621543b3a46f8448b",
        "test": "1d4be0dc44c3acda332f8bf94f9d25f7a4b04d8e6749fc3f6308f7bcaa999c9c",
    },
    "beijing_pm25": {
        "train": "fa7dd48d034a3bde8e2377d959c289e099ec90c5bc6f8769bb0a0dc8a3467881",
        "test": "b5be728f62de5ec18a7a2a2a5dc04d1f003864f9a464832ea00b2d2f3d8940ae",
    },
    "nsl_kdd": {
        "train": "16ca50e5aee51f17ae4b5e34650b81ef42fc2eb4211bbaa4ad3c74b333a07dae",
        "test": "9deeba96559eb3d2471869a63832d0f71d13fea7871fbe05205c8829645bc624",
    },
    "berka": {
        "train": "544f668ff4e35eb286e975319c8010515ad26ab125f9f370266e89c93e273ac7",
        "test": "487e19de9d4100836fceccfae6513ba44c66115d9b004023e3c6855f4f265076",
    },
    "mnist": {
        "train": "e0b2a705755a8e9c3d9d6759ed6dfde40fc0ecb6c9b97c77e8c665f16dd0547c",
        "test": "22253977848cd5675132fa652850513088326a0d99726eda89f05dfd5cd6958d",
    },
    "fashion_mnist": {
        "train": "ba2529f0184fbb3c460393e0fbb91a8469f5c5d9e770ad79bd733b4444cee920",
        "test": "1eb0306dc4cb580ba4ad09c1557a809f45762386681c10a9dd0d50b268e3b520",
    },
    "digits": {
        "train": "4845f65fcc0ce6de94ba3f7e1302321e2c4952412a8040f9f939ded4c33f6ddc",
        "test": "c9ddf2bcc726e016cc5631d1299d18b5483b91d793767ba2b19f3da5831969f4",
    },
    "sms_spam": {
        "train": "9463e65eacb5cae0ab16f80b87618a1b9ae80a67b63890bd0a3217b188bf86cb",
        "test": "a4acadc34f2237006834becb26f644f31ef1a807f7acecb4269c536f9ac15d23",
    },
    "banking77": {
        "train": "ec3b74e15112e90a553fac85b925fc0efc7f979b4f7dad573b87160713432b16",
        "test": "9e7448444ec247e7cb620f9e135cd99d5a2297eb82abc2630ca1c626db0d344d",
    },
    "sst2": {
        "train": "e3750204ae7a95a0c305a3029912203fdda9c9259465bed8371f4c98ab850ae0",
        "validation": "9a24f55fbc722035ff2a0327dfbfb5fb6fb556f0f012f6374fbb8ab76761e00d",
        "test": "9001e9e8630055c560fb0f50ba91e2f83af4b6b72eb212f030cf1477929894bf",
    },
    "occupancy": {
        "train": "04c930594dadbe200b136e42683af66ea0b718505d0a5154455eff22adbc35af",
        "test": "48a530fce075a825e059f06d78ea3f3448701f4568ea3cff34e6d4d58da511a5",
    },
    "ecg5000": {
        "train": "4a38cced5b9943c6791562a9f212097e17d852e36fe2ddadbc93ba5c1d9b9b42",
        "test": "f4c14f8c6507daf652b6688bfbdd0904bde58510dffa7a4cde1e49dd92521fca",
    },
    "google_stock": {
        "train": "4e82dc3b85e5a1b5853b1c5ece8cb15457025ce2e6573770251773f67c00cd85",
        "test": "7cb59dacd6ab8d885d9d652ff3d6636c76b9fac7d4c4a9e8f839c5c0d6fcd1d4",
    },
    "air_quality": {
        "train": "bda5a09e69da9be2412aec9bf3098871ffc99f2332014fba95686b2ff0f1672f",
        "test": "501efb0ab1403ace2992a8d7b21527c9fb1bdf0fbabf72b5cc290c01c0584032",
    },
    "appliances_energy": {
        "train": "ac4ade70177d36c7e4d1f139e6fc4ce5a7f011b3ebb672fde36c284bb04f3298",
        "test": "9179cec469f9098e1582bb57c70d7fdd2f1aacf0884cccc53c494d847cb18f02",
    },
}
