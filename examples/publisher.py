import os

import pika

url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare("greetings", durable=True)

# From here on, a publish returns when the broker has the message on its disk.
channel.confirm_delivery()
persistent = pika.BasicProperties(delivery_mode=2)
for number in range(10):
    channel.basic_publish("", "greetings", f"Hello {number}".encode(), persistent, mandatory=True)
print("10 messages are safe")
connection.close()
