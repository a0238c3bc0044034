-- The eight tables as the tests load them: every join of the fact tables on the order key is
-- local, dimension tables have few buckets.

CREATE TABLE region (
    r_regionkey Int64,
    r_name String,
    r_comment String
) ENGINE = MergeTree ORDER BY r_regionkey DISTRIBUTED BY (r_regionkey) BUCKETS 1;

CREATE TABLE nation (
    n_nationkey Int64,
    n_name String,
    n_regionkey Int64,
    n_comment String
) ENGINE = MergeTree ORDER BY n_nationkey DISTRIBUTED BY (n_nationkey) BUCKETS 1;

CREATE TABLE supplier (
    s_suppkey Int64,
    s_name String,
    s_address String,
    s_nationkey Int64,
    s_phone String,
    s_acctbal Decimal(15, 2),
    s_comment String
) ENGINE = MergeTree ORDER BY s_suppkey DISTRIBUTED BY (s_suppkey) BUCKETS 4;

CREATE TABLE customer (
    c_custkey Int64,
    c_name String,
    c_address String,
    c_nationkey Int64,
    c_phone String,
    c_acctbal Decimal(15, 2),
    c_mktsegment String,
    c_comment String
) ENGINE = MergeTree ORDER BY c_custkey DISTRIBUTED BY (c_custkey) BUCKETS 4;

CREATE TABLE part (
    p_partkey Int64,
    p_name String,
    p_mfgr String,
    p_brand String,
    p_type String,
    p_size Int32,
    p_container String,
    p_retailprice Decimal(15, 2),
    p_comment String
) ENGINE = MergeTree ORDER BY p_partkey DISTRIBUTED BY (p_partkey) BUCKETS 4;

CREATE TABLE partsupp (
    ps_partkey Int64,
    ps_suppkey Int64,
    ps_availqty Int32,
    ps_supplycost Decimal(15, 2),
    ps_comment String
) ENGINE = MergeTree ORDER BY (ps_partkey, ps_suppkey) DISTRIBUTED BY (ps_partkey) BUCKETS 4;

CREATE TABLE orders (
    o_orderkey Int64,
    o_custkey Int64,
    o_orderstatus String,
    o_totalprice Decimal(15, 2),
    o_orderdate Date32,
    o_orderpriority String,
    o_clerk String,
    o_shippriority Int32,
    o_comment String
) ENGINE = MergeTree ORDER BY (o_orderdate, o_orderkey) DISTRIBUTED BY (o_orderkey) BUCKETS 8
    COLOCATE WITH tpch_orders;

CREATE TABLE lineitem (
    l_orderkey Int64,
    l_partkey Int64,
    l_suppkey Int64,
    l_linenumber Int32,
    l_quantity Decimal(15, 2),
    l_extendedprice Decimal(15, 2),
    l_discount Decimal(15, 2),
    l_tax Decimal(15, 2),
    l_returnflag String,
    l_linestatus String,
    l_shipdate Date32,
    l_commitdate Date32,
    l_receiptdate Date32,
    l_shipinstruct String,
    l_shipmode String,
    l_comment String
) ENGINE = MergeTree ORDER BY (l_shipdate, l_orderkey) DISTRIBUTED BY (l_orderkey) BUCKETS 8
    COLOCATE WITH tpch_orders;
