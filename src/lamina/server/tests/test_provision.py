"""Objects that the environment asks for."""

import pytest

from lamina.errors import InvalidArgument
from lamina.server.provision import BucketSpec, LifecycleSpec, ReplicationSpec, TokenSpec, provisioned


def test_nothing_asked_for():
    found = provisioned({"RS_BUCKET_A_NAME": "", "PATH": "/bin", "RS_BUCKET_B_QUOTA_TYPE": "rubbish"})
    assert (found.defaults, found.buckets, found.tokens, found.replications, found.lifecycles) == ({}, (), (), (), ())


def test_buckets_with_the_members_that_are_given():
    found = provisioned(
        {
            "RS_BUCKET_2_NAME": "second",
            "RS_BUCKET_my_own_NAME": "third",
            "RS_BUCKET_1_NAME": "first",
            "RS_BUCKET_1_QUOTA_TYPE": "fifo",
            "RS_BUCKET_1_QUOTA_SIZE": "1GB",
            "RS_BUCKET_1_MAX_BLOCK_SIZE": "64MiB",
            "RS_BUCKET_1_MAX_BLOCK_RECORDS": "256",
            "RS_BUCKET_1_UNKNOWN": "x",
            "RS_BUCKET_my_own_QUOTA_SIZE": "7",
        }
    )
    first = {"quota_type": "FIFO", "quota_size": 10**9, "max_block_size": 64 << 20, "max_block_records": 256}
    assert found.buckets == (
        BucketSpec("first", first),
        BucketSpec("second", {}),
        BucketSpec("third", {"quota_size": 7}),
    )


def test_tokens():
    found = provisioned(
        {
            "RS_TOKEN_A_NAME": "admin",
            "RS_TOKEN_A_VALUE": "hush-hush",
            "RS_TOKEN_A_FULL_ACCESS": "true",
            "RS_TOKEN_B_NAME": "reader",
            "RS_TOKEN_B_VALUE": "v",
            "RS_TOKEN_B_READ": "a, b-*",
            "RS_TOKEN_B_WRITE": "",
            "RS_TOKEN_B_EXPIRES_AT": "2030-01-01T00:00:00Z",
        }
    )
    assert found.tokens == (
        TokenSpec("admin", "hush-hush", full_access=True),
        TokenSpec("reader", "v", read=("a", "b-*"), expires_at="2030-01-01T00:00:00Z"),
    )
    assert "hush-hush" not in repr(found)


def test_replications_beside_the_settings_of_all():
    found = provisioned(
        {
            "RS_REPLICATION_TIMEOUT": "5",
            "RS_REPLICATION_LOG_SIZE": "1000",
            "RS_REPLICATION_A_NAME": "copy",
            "RS_REPLICATION_A_SRC_BUCKET": "s",
            "RS_REPLICATION_A_DST_BUCKET": "d",
            "RS_REPLICATION_A_DST_HOST": "https://h",
            "RS_REPLICATION_A_DST_TOKEN": "hush-hush",
            "RS_REPLICATION_A_ENTRIES": "a,b",
            "RS_REPLICATION_A_DST_PREFIX": "p",
            "RS_REPLICATION_A_WHEN": '{"&x": {"$eq": 1}}',
            "RS_REPLICATION_A_MODE": "Paused",
            "RS_REPLICATION_A_COMPRESSION": "zstd",
        }
    )
    settings = {
        "src_bucket": "s",
        "dst_bucket": "d",
        "dst_host": "https://h",
        "dst_token": "hush-hush",
        "entries": ["a", "b"],
        "dst_prefix": "p",
        "when": {"&x": {"$eq": 1}},
        "mode": "paused",
        "compression": "zstd",
    }
    assert found.replications == (ReplicationSpec("copy", settings),)
    assert "hush-hush" not in repr(found)


def test_lifecycles():
    found = provisioned(
        {
            "RS_LIFECYCLE_A_NAME": "old",
            "RS_LIFECYCLE_A_BUCKET": "b",
            "RS_LIFECYCLE_A_OLDER_THAN": "30d",
            "RS_LIFECYCLE_A_TYPE": "compress",
            "RS_LIFECYCLE_A_INTERVAL": "1h",
            "RS_LIFECYCLE_A_PROCESSING_INTERVAL": "24h",
            "RS_LIFECYCLE_A_ENTRIES": "a/*",
            "RS_LIFECYCLE_A_MODE": "dry_run",
        }
    )
    settings = {
        "bucket": "b",
        "older_than": "30d",
        "type": "compress",
        "interval": "1h",
        "processing_interval": "24h",
        "entries": ["a/*"],
        "mode": "dry_run",
    }
    assert found.lifecycles == (LifecycleSpec("old", settings),)


def test_defaults_of_buckets():
    found = provisioned({"RS_DEFAULTS_BUCKET_QUOTA_TYPE": "HARD", "RS_DEFAULTS_BUCKET_QUOTA_SIZE": "5GB"})
    assert found.defaults == {"quota_type": "HARD", "quota_size": 5 * 10**9}


def test_names_of_ours_win():
    found = provisioned(
        {
            "RS_BUCKET_1_NAME": "theirs",
            "LAMINA_BUCKET_1_NAME": "ours",
            "RS_BUCKET_1_QUOTA_SIZE": "1",
            "LAMINA_DEFAULTS_BUCKET_QUOTA_SIZE": "2",
            "RS_DEFAULTS_BUCKET_QUOTA_SIZE": "1",
        }
    )
    assert found.buckets == (BucketSpec("ours", {"quota_size": 1}),)
    assert found.defaults == {"quota_size": 2}


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"RS_BUCKET_1_NAME": "b", "RS_BUCKET_1_QUOTA_TYPE": "LIFO"}, ["RS_BUCKET_1_QUOTA_TYPE", "LIFO", "FIFO"]),
        ({"RS_BUCKET_1_NAME": "b", "RS_BUCKET_1_QUOTA_SIZE": "big"}, ["RS_BUCKET_1_QUOTA_SIZE", "big"]),
        ({"RS_TOKEN_1_NAME": "t"}, ["RS_TOKEN_1_VALUE", "missing"]),
        ({"RS_TOKEN_1_NAME": "t", "RS_TOKEN_1_VALUE": "v", "RS_TOKEN_1_FULL_ACCESS": "2"}, ["RS_TOKEN_1_FULL_ACCESS"]),
        ({"RS_REPLICATION_1_NAME": "r", "RS_REPLICATION_1_DST_HOST": "h"}, ["RS_REPLICATION_1_SRC_BUCKET"]),
        ({"RS_LIFECYCLE_1_NAME": "l", "RS_LIFECYCLE_1_BUCKET": "b"}, ["RS_LIFECYCLE_1_OLDER_THAN"]),
        (
            {
                "RS_LIFECYCLE_1_NAME": "l",
                "RS_LIFECYCLE_1_BUCKET": "b",
                "RS_LIFECYCLE_1_OLDER_THAN": "1h",
                "RS_LIFECYCLE_1_WHEN": "{",
            },
            ["RS_LIFECYCLE_1_WHEN", "JSON"],
        ),
        ({"RS_BUCKET_1_NAME": "b", "RS_BUCKET_2_NAME": "b"}, ["RS_BUCKET_2_NAME", "RS_BUCKET_1_NAME", "'b'"]),
        ({"RS_DEFAULTS_BUCKET_MAX_BLOCK_RECORDS": "0"}, ["RS_DEFAULTS_BUCKET_MAX_BLOCK_RECORDS"]),
    ],
)
def test_errors_name_the_variable(environment, names):
    with pytest.raises(InvalidArgument) as caught:
        provisioned(environment)
    assert all(name in str(caught.value) for name in names)
