# docker build -t pqmim . && docker run --rm -v "$PWD:/photos" pqmim compress photo.jpg
# --build-arg EXTRAS=serve,qr for the page: docker run --rm -p 8123:8123 pqmim serve --host 0.0.0.0
FROM python:3.12-slim
ARG EXTRAS=serve,qr
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# the address that PyTorch's site names for its CPU-only wheels saves gigabytes: --build-arg TORCH_INDEX=...
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--index-url $TORCH_INDEX} "torch>=2.9,<2.14"
# without a C compiler in the image, the prior runs in PyTorch: the same codes, more slowly
COPY pyproject.toml hatch_build.py README.md LICENSE /src/
COPY src /src/src
RUN pip install "/src[$EXTRAS]" && rm -r /src && useradd --create-home pqmim
USER pqmim
WORKDIR /photos
ENTRYPOINT ["pqmim"]
CMD ["--help"]
