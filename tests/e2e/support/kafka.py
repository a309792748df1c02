"""A real Apache Kafka broker: one KRaft node on free ports, with its data in a folder."""

import subprocess

from confluent_kafka import OFFSET_END, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from support.ports import free_ports, wait_until
from support.server import ROOT, Server, fetch

CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAQ"
JAVA = ["java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class Kafka(Server):
    """Clients of `bootstrap` talk to it directly; those of `proxy_port` through a Proxy that
    forwards to `detour_port`."""

    def __init__(self, version, folder):
        self.version = version
        port, controller_port, self.detour_port, self.proxy_port = free_ports(4)
        self.bootstrap = f"127.0.0.1:{port}"
        jars = f"{fetch('kafka', version)}/*"
        properties = folder / "server.properties"
        text = (ROOT / "tests/support/kafka/server.properties").read_text()
        text = text.format(
            port=port,
            controller_port=controller_port,
            detour_port=self.detour_port,
            proxy_port=self.proxy_port,
            data=folder / "data",
        )
        properties.write_text(text)
        format_command = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", properties]
        subprocess.run(JAVA + ["-cp", jars] + format_command, check=True, capture_output=True)
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        command = JAVA + [level, "-cp", jars, "kafka.Kafka", properties]
        super().__init__(command, folder / "kafka.log")
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def is_up(self):
        try:
            return len(self.admin.list_topics(timeout=1).brokers) > 0
        except KafkaException:
            return False

    def create_topics(self, names, partitions=1, config=None):
        topics = [NewTopic(name, partitions, 1, config=config or {}) for name in names]
        for future in self.admin.create_topics(topics).values():
            future.result(30)
        wait_until(lambda: all(map(self.has_leaders, names)), 30, "the leaders of new topics")

    def has_leaders(self, name):
        topic = self.admin.list_topics(name, timeout=10).topics[name]
        leaders = [partition.leader for partition in topic.partitions.values()]
        return topic.error is None and leaders != [] and min(leaders) >= 0

    def delete_records(self, name):
        """Everything that a topic has, as its retention does it in time."""
        partitions = self.admin.list_topics(name, timeout=10).topics[name].partitions
        ends = [TopicPartition(name, partition, OFFSET_END) for partition in partitions]
        for future in self.admin.delete_records(ends).values():
            future.result(30)

    def topic_config(self, name):
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        (future,) = self.admin.describe_configs([resource]).values()
        return {key: entry.value for key, entry in future.result(30).items()}
