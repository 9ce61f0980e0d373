#include "adapter_fixture.h"

int main(int argc, char **argv)
{
    return adapter_fixture_main("bedrock", PST_FIXTURES "/bedrock", argc, argv);
}
