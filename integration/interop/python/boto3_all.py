"""Every operation of Kinesis that boto3 has, its paginators and waiters, and DynamoDB."""

import boto3
import botocore

import report
from kinesis_ops import run as kinesis
from dynamodb_ops import run as dynamodb

report.begin("boto3", boto3.__version__)
kinesis(boto3, botocore)
dynamodb(boto3, botocore)
report.end()
