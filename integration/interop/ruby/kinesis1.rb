# The AWS SDK for Ruby, version 1: the operations that it knows, and a lease table.

require "aws-sdk-v1"
require "base64"
require "json"

$failed = false

def line(value)
  puts JSON.generate(value)
  $stdout.flush
end

def check(name)
  detail = yield
  line(check: name, ok: true, detail: detail.is_a?(String) ? detail : "")
rescue StandardError => e
  $failed = true
  warn e.full_message
  line(check: name, ok: false, detail: "#{e.class}: #{e.message}")
end

def same(what, got, want)
  raise "#{what} is #{got.inspect}, want #{want.inspect}" unless got == want
end

def put(key, data, result)
  File.open(ENV["OUT"], "a") do |f|
    f.puts JSON.generate(key: key, data: Base64.strict_encode64(data), shard: result[:shard_id], seq: result[:sequence_number])
  end
end

STREAM = ENV.fetch("STREAM")
RECORDS = ENV.fetch("RECORDS").to_i

AWS.config(
  access_key_id: ENV.fetch("AWS_ACCESS_KEY_ID"), secret_access_key: ENV.fetch("AWS_SECRET_ACCESS_KEY"),
  region: "us-east-1", ssl_ca_file: ENV.fetch("STREAMD_CA"), max_retries: 0
)

def client(service, prefix, url, **more)
  u = URI(url)
  service.new("#{prefix}_endpoint": u.host, "#{prefix}_port": u.port, use_ssl: u.scheme == "https", **more)
end

line(client: "aws-sdk for Ruby", version: AWS::VERSION, runtime: "ruby #{RUBY_VERSION}")
over = { "https" => client(AWS::Kinesis::Client, "kinesis", ENV.fetch("STREAMD_KINESIS")), "http" => client(AWS::Kinesis::Client, "kinesis", ENV.fetch("STREAMD_PLAIN")) }
k = over["https"]

over.each do |how, c|
  check("put_record, put_records over #{how}") do
    data = "one \u00fc".b
    put(how, data, c.put_record(stream_name: STREAM, partition_key: how, data: data))
    entries = (0...RECORDS / 2).map { |i| { partition_key: how, data: "#{how} #{i}" } }
    r = c.put_records(stream_name: STREAM, records: entries)
    same("failed_record_count", r[:failed_record_count], 0)
    entries.zip(r[:records]) { |e, a| put(how, e[:data], a) }
    "#{entries.size + 1} records"
  end
end

check("describe_stream, get_shard_iterator LATEST and TRIM_HORIZON, get_records with a limit of 10000") do
  total = 0
  d = k.describe_stream(stream_name: STREAM)[:stream_description]
  same("stream_status", d[:stream_status], "ACTIVE")
  d[:shards].each do |s|
    at = ->(type) { k.get_shard_iterator(stream_name: STREAM, shard_id: s[:shard_id], shard_iterator_type: type)[:shard_iterator] }
    r = k.get_records(shard_iterator: at.call("LATEST"), limit: 10_000)
    same("records", r[:records], [])
    raise "no next_shard_iterator" unless r[:next_shard_iterator]
    r = k.get_records(shard_iterator: at.call("TRIM_HORIZON"), limit: 10_000)
    total += r[:records].size
    raise "no data" unless r[:records].all? { |x| x[:data].is_a?(String) && x[:sequence_number] =~ /\A\d+\z/ }
  end
  same("records", total, RECORDS / 2 * 2 + 2)
  "#{total} records"
end

check("create, split, merge, tag and delete a stream; list_streams") do
  name = "#{STREAM}-made"
  k.create_stream(stream_name: name, shard_count: 1)
  k.split_shard(stream_name: name, shard_to_split: "shardId-000000000000", new_starting_hash_key: (2**127).to_s)
  k.merge_shards(stream_name: name, shard_to_merge: "shardId-000000000001", adjacent_shard_to_merge: "shardId-000000000002")
  same("streams", k.list_streams[:stream_names].sort, [STREAM, name].sort)
  k.add_tags_to_stream(stream_name: name, tags: { "a" => "b" })
  same("tags", k.list_tags_for_stream(stream_name: name)[:tags], [{ key: "a", value: "b" }])
  k.remove_tags_from_stream(stream_name: name, tag_keys: ["a"])
  k.delete_stream(stream_name: name)
end

check("errors have their classes") do
  k.describe_stream(stream_name: "nowhere")
  raise "it was not refused"
rescue AWS::Kinesis::Errors::ResourceNotFoundException => e
  raise e unless e.message.start_with?("Stream nowhere under account ")
end

check("a lease table in DynamoDB, with its checksums") do
  c = client(AWS::DynamoDB::Client, "dynamo_db", ENV.fetch("STREAMD_DYNAMODB"), api_version: "2012-08-10", dynamo_db_crc32: true)
  table = ENV.fetch("TABLE")
  c.create_table(
    table_name: table, key_schema: [{ attribute_name: "id", key_type: "HASH" }],
    attribute_definitions: [{ attribute_name: "id", attribute_type: "S" }],
    provisioned_throughput: { read_capacity_units: 1, write_capacity_units: 1 }
  )
  c.put_item(table_name: table, item: { "id" => { s: "a" }, "n" => { n: "1" } })
  same("item", c.get_item(table_name: table, key: { "id" => { s: "a" } })[:item], { "id" => { s: "a" }, "n" => { n: "1" } })
  c.delete_table(table_name: table)
end

exit($failed ? 1 : 0)
