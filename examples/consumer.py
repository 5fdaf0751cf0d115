import os

import pika

url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare("greetings", durable=True)

# Up to 50 messages wait here for their acknowledgement; the rest wait in the queue.
channel.basic_qos(prefetch_count=50)
for method, properties, body in channel.consume("greetings"):
    print(body.decode(), flush=True)
    channel.basic_ack(method.delivery_tag)
