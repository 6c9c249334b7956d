"""What the catalogue knows of each data set: terms, origin, hashes, and the layouts of files that it reads.

Hashes of source files are those of the bytes that the address serves; a layout without addresses can be read but not
downloaded.
"""

from typing import Any

from zoo.data import catalog_read as read
from zoo.data.catalog_hashes import SHA256S
from zoo.data.catalog_types import Dataset, DatasetInfo, Layout

_CC_BY = "CC BY 4.0"
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"
_TRAIN_TEST_CSV = {"train": ("train.csv",), "test": ("test.csv",)}
_DIGIT = tuple(map(str, range(10)))
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_IDX = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def _info(name: str, **about: Any) -> DatasetInfo:
    return DatasetInfo(name=name, sha256s=SHA256S[name], **about)


def _same(*files: str) -> dict[str, tuple[str, ...]]:
    """Both splits are dealt from the same files."""
    return {"train": files, "test": files}


def _idx_sources(root: str, *hashes: str) -> dict[str, tuple[str, str]]:
    names = (*_IDX["train"], *_IDX["test"])
    return {name: (f"{root}/{name}", sha) for name, sha in zip(names, hashes)}


_ENTRIES = (
    Dataset(
        _info(
            "adult",
            modality="tabular",
            description="Census income of 48,842 people in the USA, 1994. 6 numbers and 9 categories each, missing "
            "values in three columns; the target is whether income is above 50,000 dollars. Official split: 32,561 to "
            "train, 16,281 to test.",
            licence=_CC_BY,
            citation="Becker, B. and Kohavi, R. (1996). Adult. UCI Machine Learning Repository. doi:10.24432/C5XW20",
            source="https://archive.ics.uci.edu/dataset/2/adult",
            target="income",
        ),
        layouts=(
            Layout(_TRAIN_TEST_CSV, read.csv(read.ADULT)),
            Layout(
                {"train": ("adult.data",), "test": ("adult.test",)},
                read.adult,
                {
                    "adult.data": (
                        f"{_UCI}/adult/adult.data",
                        "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
                    ),
                    "adult.test": (
                        f"{_UCI}/adult/adult.test",
                        "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
                    ),
                },
            ),
        ),
    ),
    Dataset(
        _info(
            "adult_sample",
            modality="tabular",
            description="A sample of Adult that rides in the package. 4,000 rows of its training and 2,000 of its "
            "test split, drawn by a fixed rule.",
            licence=_CC_BY,
            citation="Becker, B. and Kohavi, R. (1996). Adult. UCI Machine Learning Repository. doi:10.24432/C5XW20",
            source="https://archive.ics.uci.edu/dataset/2/adult",
            target="income",
        ),
        bundled=Layout({"train": ("train.parquet",), "test": ("test.parquet",)}, read.parquet),
    ),
    Dataset(
        _info(
            "magic",
            modality="tabular",
            description="Simulated images of a gamma-ray telescope, 19,020 events of 10 numbers. The target is gamma "
            "(g) or hadron (h). Split by a fixed rule over row numbers: 70 % to train, 30 % to test.",
            licence=_CC_BY,
            citation="Bock, R. (2004). MAGIC Gamma Telescope. UCI Machine Learning Repository. doi:10.24432/C52C8B",
            source="https://archive.ics.uci.edu/dataset/159/magic+gamma+telescope",
            target="class",
        ),
        layouts=(
            Layout(_same("magic.csv"), read.magic_csv),
            Layout(
                _same("magic04.data"),
                read.magic,
                {
                    "magic04.data": (
                        f"{_UCI}/magic/magic04.data",
                        "e9314b7ebd4b4b59a3b3d65f7316663963777b16a46786877651dbbaa640b36a",
                    )
                },
            ),
        ),
    ),
    Dataset(
        _info(
            "beijing_pm25",
            modality="tabular",
            description="Hourly fine dust and weather in Beijing, 2010 to 2014. 43,824 rows in time order, the target "
            "pm2_5 is missing in 2,067. 2010 to 2013 to train, 2014 to test.",
            licence=_CC_BY,
            citation="Chen, S. (2015). Beijing PM2.5. UCI Machine Learning Repository. doi:10.24432/C5JS49",
            source="https://archive.ics.uci.edu/dataset/381/beijing+pm2+5+data",
            target="pm2_5",
        ),
        layouts=(
            Layout(_same("beijing_pm25.csv"), read.beijing),
            Layout(
                _same("PRSA_data_2010.1.1-2014.12.31.csv"),
                read.beijing,
                {
                    "PRSA_data_2010.1.1-2014.12.31.csv": (
                        f"{_UCI}/00381/PRSA_data_2010.1.1-2014.12.31.csv",
                        "4127f868775e31b3956522adc0ec75af8937dde6a3896e8beed3a376c6d27f1c",
                    )
                },
            ),
        ),
    ),
    Dataset(
        _info(
            "nsl_kdd",
            modality="tabular",
            description="Network connections with and without attacks, 44 columns. The official 20 % subset to train "
            "(25,192 rows) and the official test set (22,544), which holds attacks unseen in training; attack_class "
            "groups the attacks of label in four classes.",
            licence="none stated; free for research with citation",
            citation="Tavallaee, M., Bagheri, E., Lu, W. and Ghorbani, A. (2009). A detailed analysis of the KDD CUP "
            "99 data set. CISDA. doi:10.1109/CISDA.2009.5356528",
            source="https://www.unb.ca/cic/datasets/nsl.html",
            target="attack_class",
            licence_allows_weights=False,
        ),
        layouts=(
            Layout({"train": ("train_20percent.csv",), "test": ("test.csv",)}, read.csv(read.NSL)),
            Layout(
                {"train": ("KDDTrain+_20Percent.txt",), "test": ("KDDTest+.txt",)},
                read.nsl_kdd,
                {
                    "KDDTrain+_20Percent.txt": (
                        "https://raw.githubusercontent.com/defcom17/NSL_KDD/master/KDDTrain%2B_20Percent.txt",
                        "7ea86479faab5ca2190b7f18b4982fb058ce5bf2b46e0e1017d0d9ef90f9c16e",
                    ),
                    "KDDTest+.txt": (
                        "https://raw.githubusercontent.com/defcom17/NSL_KDD/master/KDDTest%2B.txt",
                        "fa46b0935342616aa83b7c2578db355b6a7aaabbc492248172c7a1e8b7ab8f84",
                    ),
                },
            ),
        ),
    ),
    Dataset(
        _info(
            "berka",
            modality="tabular",
            description="A Czech bank of 1993 to 1998 (PKDD'99), eight related tables: districts, clients, accounts, "
            "dispositions, orders, loans, cards and the transactions of 1993. A fifth of the accounts, with all that "
            "belongs to them, is held out.",
            licence="none stated; released for the PKDD'99 challenge",
            citation="Berka, P. and Sochorova, M. (1999). Discovery Challenge guide to the financial data set. PKDD",
            source="https://sorry.vse.cz/~berka/challenge/pkdd1999/berka.htm",
            licence_allows_weights=False,
            folder="berka_relational",
        ),
        layouts=(Layout(dict.fromkeys(("train", "test"), tuple(f"{t}.csv" for t in read.BERKA)), read.berka),),
    ),
    Dataset(
        _info(
            "mnist",
            modality="image",
            description="Handwritten digits, 28 x 28 grey pixels, 10 classes. Official split: 60,000 to train, "
            "10,000 to test.",
            licence="CC BY-SA 3.0",
            citation="LeCun, Y., Bottou, L., Bengio, Y. and Haffner, P. (1998). Gradient-based learning applied to "
            "document recognition. Proceedings of the IEEE 86(11). doi:10.1109/5.726791",
            source="https://ossci-datasets.s3.amazonaws.com/mnist",
            target="label",
        ),
        layouts=(
            Layout(
                _IDX,
                read.idx(_DIGIT),
                _idx_sources(
                    "https://ossci-datasets.s3.amazonaws.com/mnist",
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ),
        ),
    ),
    Dataset(
        _info(
            "fashion_mnist",
            modality="image",
            description="Pictures of clothes, 28 x 28 grey pixels, 10 classes. Official split: 60,000 to train, "
            "10,000 to test.",
            licence="MIT",
            citation="Xiao, H., Rasul, K. and Vollgraf, R. (2017). Fashion-MNIST: a novel image dataset for "
            "benchmarking machine learning algorithms. arXiv:1708.07747",
            source="https://github.com/zalandoresearch/fashion-mnist",
            target="label",
        ),
        layouts=(
            Layout(
                _IDX,
                read.idx(_CLOTHES),
                _idx_sources(
                    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ),
        ),
    ),
    Dataset(
        _info(
            "digits",
            modality="image",
            description="Handwritten digits, 8 x 8 grey pixels, 10 classes; comes with scikit-learn. 1,797 images, "
            "split by a fixed rule: 80 % to train, 20 % to test.",
            licence=_CC_BY,
            citation="Alpaydin, E. and Kaynak, C. (1998). Optical Recognition of Handwritten Digits. UCI Machine "
            "Learning Repository. doi:10.24432/C50P49",
            source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            target="label",
        ),
        bundled=Layout({"train": (), "test": ()}, read.digits),
    ),
    Dataset(
        _info(
            "sms_spam",
            modality="text",
            description="5,574 text messages in English, ham or spam. Rides in the package; split by a fixed rule "
            "over the texts, about 80 % to train and 20 % to test, so that no message is in both.",
            licence=_CC_BY,
            citation="Almeida, T. and Gomez Hidalgo, J. (2011). SMS Spam Collection. UCI Machine Learning Repository. "
            "doi:10.24432/C5CC84",
            source="https://archive.ics.uci.edu/dataset/228/sms+spam+collection",
            target="label",
        ),
        layouts=(Layout(_same("SMSSpamCollection"), read.sms),),
        bundled=Layout(_same("messages.parquet"), read.sms_parquet),
    ),
    Dataset(
        _info(
            "banking77",
            modality="text",
            description="Questions of bank customers in English, 77 intents. Official split: 10,003 to train, 3,080 "
            "to test.",
            licence=_CC_BY,
            citation="Casanueva, I., Temcinas, T., Gerz, D., Henderson, M. and Vulic, I. (2020). Efficient intent "
            "detection with dual sentence encoders. arXiv:2003.04807",
            source="https://github.com/PolyAI-LDN/task-specific-datasets",
            target="label",
        ),
        layouts=(
            Layout(
                _TRAIN_TEST_CSV,
                read.banking77,
                {
                    f"{split}.csv": (
                        "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/"
                        "57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data/"
                        f"{split}.csv",
                        sha,
                    )
                    for split, sha in (
                        ("train", "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b"),
                        ("test", "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d"),
                    )
                },
            ),
        ),
    ),
    Dataset(
        _info(
            "sst2",
            modality="text",
            description="Sentences of film reviews, negative or positive, tokenised and in lower case. Sentence-level "
            "split: 6,920 to train, 872 to validate, 1,821 to test.",
            licence="none stated; for research",
            citation="Socher, R. et al. (2013). Recursive deep models for semantic compositionality over a sentiment "
            "treebank. EMNLP. https://aclanthology.org/D13-1170",
            source="https://nlp.stanford.edu/sentiment",
            target="label",
            licence_allows_weights=False,
            splits=("train", "validation", "test"),
        ),
        layouts=(
            Layout(
                {
                    "train": ("stsa.binary.train",),
                    "validation": ("stsa.binary.dev",),
                    "test": ("stsa.binary.test",),
                },
                read.sst2,
                {
                    f"stsa.binary.{part}": (
                        f"https://raw.githubusercontent.com/tonyzhaozh/few-shot-learning/main/data/sst2/"
                        f"stsa.binary.{part}",
                        sha,
                    )
                    for part, sha in (
                        ("train", "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338"),
                        ("dev", "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1"),
                        ("test", "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b"),
                    )
                },
            ),
        ),
    ),
    Dataset(
        _info(
            "occupancy",
            modality="timeseries",
            description="Sensors of an office room, and whether somebody is in. Windows of 60 minutes, one every 10, "
            "of temperature, humidity, light, CO2 and humidity ratio; a window is occupied when most of its minutes "
            "are. Rides in the package. All three files of the authors; of every seven hours five to train and two to "
            "test, as the room is another one from week to week.",
            licence=_CC_BY,
            citation="Candanedo, L. and Feldheim, V. (2016). Occupancy Detection. UCI Machine Learning Repository. "
            "doi:10.24432/C5X01N",
            source="https://github.com/LuisM78/Occupancy-detection-data",
            target="occupancy",
        ),
        layouts=(Layout(_same("datatest.txt", "datatraining.txt", "datatest2.txt"), read.occupancy),),
        bundled=Layout(_same("datatest.parquet", "datatraining.parquet", "datatest2.parquet"), read.occupancy_parquet),
    ),
    Dataset(
        _info(
            "ecg5000",
            modality="timeseries",
            description="500 heartbeats of one patient, 140 steps each, 5 unbalanced classes. The training split of "
            "the UCR archive, split again by a fixed rule: 80 % to train, 20 % to test.",
            licence="UCR archive; free for research with citation",
            citation="Dau, H. et al. (2019). The UCR time series archive. IEEE/CAA Journal of Automatica Sinica 6(6). "
            "doi:10.1109/JAS.2019.1911747",
            source="https://www.timeseriesclassification.com/description.php?Dataset=ECG5000",
            target="beat",
            licence_allows_weights=False,
        ),
        layouts=(Layout(_same("ecg5000_train.npz"), read.ecg5000),),
    ),
    Dataset(
        _info(
            "google_stock",
            modality="timeseries",
            description="Daily prices and volume of one share from 2004, six channels. Windows of 24 days, one every "
            "day; the last fifth of the days to test.",
            licence="none stated; for research",
            citation="Yoon, J., Jarrett, D. and van der Schaar, M. (2019). Time-series generative adversarial "
            "networks. NeurIPS. https://github.com/jsyoon0823/TimeGAN",
            source="https://github.com/jsyoon0823/TimeGAN",
            licence_allows_weights=False,
        ),
        layouts=(
            Layout(
                _same("stock_data.csv"),
                read.windows_of_series(24, 1),
                {
                    "stock_data.csv": (
                        "https://raw.githubusercontent.com/jsyoon0823/TimeGAN/master/data/stock_data.csv",
                        "134b8a00eb4eefa3242dd7ae85144082da80dedf75a1a656d5d08f97cd95277a",
                    )
                },
            ),
        ),
    ),
    Dataset(
        _info(
            "air_quality",
            modality="timeseries",
            description="Hourly gas sensors in an Italian city, 13 channels with gaps. Windows of 24 hours, one every "
            "hour; the last fifth of the hours to test.",
            licence=_CC_BY,
            citation="Vito, S. (2008). Air Quality. UCI Machine Learning Repository. doi:10.24432/C59K5F",
            source="https://archive.ics.uci.edu/dataset/360/air+quality",
        ),
        layouts=(Layout(_same("air_quality.csv"), read.windows_of_series(24, 1, ["hour"])),),
    ),
    Dataset(
        _info(
            "appliances_energy",
            modality="timeseries",
            description="Energy use and climate of a house every 10 minutes, 28 channels. Windows of 24 steps, one "
            "every step; the last fifth of the time to test.",
            licence=_CC_BY,
            citation="Candanedo, L. (2017). Appliances Energy Prediction. UCI Machine Learning Repository. "
            "doi:10.24432/C5VC8G",
            source="https://archive.ics.uci.edu/dataset/374/appliances+energy+prediction",
        ),
        layouts=(Layout(_same("energydata_complete.csv"), read.windows_of_series(24, 1, ["date"])),),
    ),
)

SETS: dict[str, Dataset] = {entry.info.name: entry for entry in _ENTRIES}
