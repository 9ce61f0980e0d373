#include "adapter_fixture.h"

int main(int argc, char **argv)
{
    return adapter_fixture_main("gemini", PST_FIXTURES "/gemini", argc, argv);
}
